// A picture of sound: power by time and frequency, 0 to 8 kHz.
const RATE = 16000, SIZE = 512, BINS = SIZE / 2;
const STOPS = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const COLORS = Uint8ClampedArray.from({ length: 256 * 3 }, (_, i) => {
  const place = (Math.floor(i / 3) / 255) * (STOPS.length - 1), low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low][i % 3] + (place - low) * (STOPS[low + 1][i % 3] - STOPS[low][i % 3]);
});
const WINDOW = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));

// float32 samples at 16 kHz of a file, or null where the browser cannot decode it
export async function decoded(file) {
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const sound = await context.decodeAudioData(await file.arrayBuffer());
    return sound.getChannelData(0);
  } catch {
    return null;
  }
}

// Powers of one frame, by a radix-2 Fourier transform in place.
function powers(samples, start, real, imaginary, out) {
  for (let i = 0, j = 0; i < SIZE; i++) {
    real[j] = (samples[start + i] || 0) * WINDOW[i];
    imaginary[j] = 0;
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let half = 1; half < SIZE; half *= 2) {
    const step = -Math.PI / half;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(step * k), s = Math.sin(step * k);
      for (let a = k; a < SIZE; a += 2 * half) {
        const b = a + half, x = c * real[b] - s * imaginary[b], y = s * real[b] + c * imaginary[b];
        real[b] = real[a] - x; imaginary[b] = imaginary[a] - y;
        real[a] += x; imaginary[a] += y;
      }
    }
  }
  for (let i = 0; i < BINS; i++) out[i] = 10 * Math.log10(real[i] ** 2 + imaginary[i] ** 2 + 1e-10);
}

// Draw samples over a width and a height, in steps between which the page stays alive.
export async function draw(context, samples, width, height) {
  const real = new Float32Array(SIZE), imaginary = new Float32Array(SIZE), frame = new Float32Array(BINS);
  const columns = Math.round(width), all = new Float32Array(columns * BINS);
  let most = -Infinity, then = performance.now();
  for (let x = 0; x < columns; x++) {
    powers(samples, Math.round((x / columns) * samples.length - SIZE / 2), real, imaginary, frame);
    all.set(frame, x * BINS);
    for (const value of frame) if (value > most) most = value;
    if (performance.now() - then > 30) {
      await new Promise((done) => setTimeout(done));
      then = performance.now();
    }
  }
  const picture = new ImageData(columns, BINS);
  for (let x = 0; x < columns; x++) {
    for (let y = 0; y < BINS; y++) {
      const level = Math.max(0, Math.min(255, Math.round(255 + 255 * (all[x * BINS + y] - most) / 70)));
      const at = 4 * ((BINS - 1 - y) * columns + x);
      picture.data.set(COLORS.subarray(3 * level, 3 * level + 3), at);
      picture.data[at + 3] = 255;
    }
  }
  context.drawImage(await createImageBitmap(picture), 0, 0, width, height);
}
