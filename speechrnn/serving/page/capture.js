// Runs in the audio thread: collects microphone samples into blocks of about a tenth of a second.
registerProcessor("capture", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.portion = new Float32Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.port.onmessage = () => this.send();
  }

  send() {
    this.port.postMessage(this.portion.slice(0, this.filled));
    this.filled = 0;
  }

  process(inputs) {
    for (const sample of inputs[0][0] || []) {
      this.portion[this.filled++] = sample;
      if (this.filled === this.portion.length) this.send();
    }
    return true;
  }
});
