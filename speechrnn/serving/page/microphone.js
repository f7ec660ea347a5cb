// The microphone: samples go to the server as they come, in Vosk's protocol, and words come back.
import { socket } from "/page/server.js";

const LONGEST = 3600;

export class Microphone {
  // `heard(final, partial)` gets what is certain and what is not, `level(0 to 1)` how loud it is.
  constructor({ heard, level, ended }) {
    Object.assign(this, { heard, level, ended, certain: [], portions: [], seconds: 0, stopping: false });
  }

  async start() {
    if (!navigator.mediaDevices) throw new Error("The browser gives a microphone to https pages and to this machine only.");
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("/page/capture.js");
    this.line = socket("/vosk");
    await new Promise((done, failed) => {
      this.line.onopen = done;
      this.line.onerror = () => failed(new Error("The server does not listen."));
    });
    this.line.onmessage = ({ data }) => this.answered(JSON.parse(data));
    this.line.onclose = ({ code, reason }) => this.close(code === 1000 ? "" : reason || "The connection was lost.");
    this.line.send(JSON.stringify({ config: { sample_rate: this.context.sampleRate } }));
    this.worklet = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
    this.worklet.port.onmessage = ({ data }) => this.take(data);
    this.context.createMediaStreamSource(this.stream).connect(this.worklet);
  }

  take(samples) {
    if (this.line.readyState !== WebSocket.OPEN) return;
    const whole = Int16Array.from(samples, (value) => Math.max(-32768, Math.min(32767, Math.round(32767 * value))));
    if (whole.length) {
      this.line.send(whole.buffer);
      this.portions.push(whole);
      this.seconds += whole.length / this.context.sampleRate;
    }
    let power = 0;
    for (const value of samples) power += value * value;
    this.level(Math.max(0, Math.min(1, 1 + Math.log10(power / Math.max(1, samples.length) + 1e-8) / 5)));
    if (this.stopping) this.line.send('{"eof" : 1}');
    else if (this.seconds > LONGEST) this.stop();
  }

  answered(answer) {
    if (answer.text) this.certain.push(answer.text);
    this.heard(this.certain.join(" "), answer.partial || "");
  }

  stop() {
    if (this.stopping) return;
    this.stopping = true;
    this.worklet.port.postMessage("send"); // what is left, and then the end
  }

  close(reason) {
    for (const track of this.stream.getTracks()) track.stop();
    const rate = this.context.sampleRate;
    this.context.close();
    this.ended(reason, this.portions.length ? wav(this.portions, rate) : null);
  }
}

// A WAV file of 16-bit portions.
function wav(portions, rate) {
  const size = portions.reduce((sum, portion) => sum + portion.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const texts = [[0, "RIFF"], [8, "WAVEfmt "], [36, "data"]];
  for (const [at, text] of texts) for (let i = 0; i < text.length; i++) head.setUint8(at + i, text.charCodeAt(i));
  head.setUint32(4, 36 + size, true);
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  head.setUint32(40, size, true);
  return new Blob([head, ...portions], { type: "audio/wav" });
}
