"""Fine-tuning DenseNet-121 on a folder of radiographs: config, images, loop, state, evaluation."""
