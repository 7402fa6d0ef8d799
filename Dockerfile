# The page in a container. Build and run it as docs/deployment.md says.
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim

# The address of PyTorch's wheels for CPUs, which are a tenth of the size of those that bring CUDA.
# Left empty, torch comes from pip's own default, as everything else does.
ARG TORCH_INDEX=""

# OpenCV loads these two libraries, and the slim image has neither.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        grep -oE '^torch(vision)?>=[0-9.]+' requirements.txt \
        | xargs pip install --no-cache-dir --index-url "$TORCH_INDEX"; \
    fi \
    && pip install --no-cache-dir -r requirements.txt

COPY LICENSE streamlit_app.py ./
COPY .streamlit ./.streamlit
COPY cxr_gradcam ./cxr_gradcam
# Whoever builds may have files that only he can read.
RUN chmod -R a+rX /app && python -m compileall -q cxr_gradcam

# Nothing below /app is ever written, so the container may run with a read-only root: what can be
# made again (figures of a dataset, matplotlib's fonts) goes below /tmp.
RUN useradd --system --no-create-home --uid 10001 cxr
USER cxr
ENV HOME=/tmp \
    CXR_CACHE=/tmp/cxr-gradcam \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    STREAMLIT_SERVER_PORT=8501

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "\
import os, urllib.request; \
base = os.environ.get('STREAMLIT_SERVER_BASE_URL_PATH', '').strip('/'); \
port = os.environ['STREAMLIT_SERVER_PORT']; \
path = '/'.join(filter(None, (base, '_stcore/health'))); \
urllib.request.urlopen(f'http://127.0.0.1:{port}/{path}', timeout=4)"]

# All addresses, but those of the container: whoever starts it says which of them the world sees.
CMD ["streamlit", "run", "streamlit_app.py", \
     "--server.address=0.0.0.0", "--server.allowedHosts=*", "--server.fileWatcherType=none"]
