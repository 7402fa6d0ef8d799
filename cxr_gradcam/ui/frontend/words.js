// Numbers in words, and bytes out of text.

/** Three significant digits, without an exponent where it reads well. */
function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size >= 1e-4 && size < 1e4 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  return text.replace("-", "−");
}

/** Two decimals and the sign, the minus as wide as the plus; 0 has none. */
function signed(value) {
  const size = Math.abs(value).toFixed(2);
  return Number(size) > 0 ? (value < 0 ? "−" : "+") + size : size;
}

function percent(share, decimals = 0) {
  return `${(100 * share).toFixed(decimals)}%`;
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** A small map as Python sends it: {height, width, data}, data float32 in base64. */
function gridOf({ height, width, data }) {
  return { height, width, values: new Float32Array(bytesOf(data).buffer) };
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
