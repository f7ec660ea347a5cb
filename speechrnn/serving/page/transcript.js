// A recording with its words: text, sound, spectrogram, times, confidence, subtitles.
import { canvas, clock, color, element } from "/page/elements.js";
import { ask, form } from "/page/server.js";
import { decoded, draw } from "/page/spectrogram.js";

const HEIGHT = 160, AXIS = 22, LONGEST = 15000, UNSURE = 0.6;
const ENDINGS = { text: "txt", srt: "srt", vtt: "vtt", verbose_json: "json" };

// Ask for the transcript of a file, and show it in an element.
export async function transcribe(file, into) {
  const status = element("p", { class: "soft", role: "status" }, "Recognizing …");
  const card = element("article", { class: "card", "aria-busy": "true" },
    element("div", { class: "head" }, element("h3", {}, file.name)), status);
  into.prepend(card);
  try {
    const fields = [["response_format", "verbose_json"], ["timestamp_granularities[]", "word"]];
    const transcript = await (await ask("/v1/audio/transcriptions", form(file, fields))).json();
    status.remove();
    card.firstChild.append(element("span", { class: "soft" }, `${clock(transcript.duration)}, ${transcript.words.length} words`));
    card.append(element("p", { class: "text" }, transcript.text || "(no words)"));
    await show(card, file, transcript);
  } catch (error) {
    status.className = "wrong";
    status.setAttribute("role", "alert");
    status.textContent = error.message;
  }
  card.removeAttribute("aria-busy");
  return card;
}

async function show(card, file, transcript) {
  const samples = await decoded(file);
  const player = samples ? element("audio", { controls: true, src: URL.createObjectURL(file), "aria-label": `Sound of ${file.name}` }) : null;
  const room = card.clientWidth - 40;
  const width = Math.max(room, Math.min(LONGEST, Math.round(transcript.duration * Math.max(90, needed(transcript.words)))));
  const scale = width / transcript.duration;
  const inside = element("div", {});
  inside.style.width = `${width}px`;
  if (samples) {
    const [picture, context] = canvas(width, HEIGHT + AXIS, `Spectrogram of ${file.name}, ${clock(transcript.duration)}; its words follow.`);
    inside.append(picture);
    axis(context, width, transcript.duration, scale);
    await draw(context, samples, width, HEIGHT);
  }
  if (transcript.words.length) inside.append(wordList(transcript.words, scale, transcript.duration, player));
  const timeline = element("div", { class: "timeline", tabindex: "0", role: "group", "aria-label": "Spectrogram and words" }, inside);
  card.append(timeline);
  if (transcript.words.length) card.append(element("p", { class: "soft" }, "Under each word: how sure the model is, in percent. Below 60 it is underlined."));
  if (player) {
    const cursor = element("span", { class: "cursor", hidden: true });
    inside.append(cursor);
    player.addEventListener("timeupdate", () => {
      cursor.hidden = false;
      cursor.style.left = `${player.currentTime * scale}px`;
    });
    card.append(player);
  }
  card.append(downloads(file));
}

// Pixels per second at which most words fit above the next one.
function needed(words) {
  const gaps = words.slice(1).map((word, i) => (7.5 * words[i].word.length + 14) / Math.max(0.05, word.start - words[i].start));
  gaps.sort((a, b) => a - b);
  return Math.min(260, gaps[Math.floor(0.95 * gaps.length)] || 0);
}

function axis(context, width, duration, scale) {
  const step = [0.5, 1, 2, 5, 10, 30, 60, 300].find((seconds) => seconds * scale >= 60) || 600;
  context.fillStyle = color("--faint");
  context.fillRect(0, HEIGHT, width, AXIS);
  context.fillStyle = color("--soft");
  context.font = "12px system-ui, sans-serif";
  for (let second = 0; second < duration; second += step) {
    context.fillRect(second * scale, HEIGHT, 1, 5);
    context.fillText(`${+second.toFixed(1)} s`, second * scale + 4, HEIGHT + 15);
  }
}

function wordList(words, scale, duration, player) {
  const list = element("ol", { class: "words", "aria-label": "Words" });
  words.forEach((word, i) => {
    const next = words[i + 1] ? words[i + 1].start : Math.max(duration, word.end);
    const percent = `${Math.round(100 * word.confidence)}`;
    const button = element("button", {
      type: "button",
      "aria-label": `${word.word}, ${word.start.toFixed(2)} seconds, ${percent} percent sure${player ? "; play from here" : ""}`,
      title: `${word.start.toFixed(2)}–${word.end.toFixed(2)} s, ${percent} %`,
      onclick: () => {
        if (!player) return;
        player.currentTime = word.start;
        player.play();
      },
    }, element("b", {}, word.word), element("small", {}, percent), element("small", { hidden: next - word.start < 1 }, ` % at ${word.start.toFixed(2)} s`));
    const item = element("li", { class: word.confidence < UNSURE ? "unsure" : null }, button);
    item.style.left = `${word.start * scale}px`;
    item.style.width = `${Math.max(14, (next - word.start) * scale - 1)}px`;
    list.append(item);
  });
  return list;
}

function downloads(file) {
  const stem = file.name.replace(/\.[^.]*$/, "");
  const row = element("div", { class: "row downloads", role: "group", "aria-label": `Download the transcript of ${file.name}` });
  for (const [format, ending] of Object.entries(ENDINGS)) {
    row.append(element("button", {
      type: "button",
      onclick: async (event) => {
        event.target.disabled = true;
        try {
          const fields = [["response_format", format], ["timestamp_granularities[]", "word"], ["timestamp_granularities[]", "segment"]];
          const answer = await ask("/v1/audio/transcriptions", form(file, fields));
          const link = element("a", { href: URL.createObjectURL(await answer.blob()), download: `${stem}.${ending}` });
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 10000);
        } catch (error) {
          row.append(element("span", { class: "wrong", role: "alert" }, error.message));
        }
        event.target.disabled = false;
      },
    }, `.${ending}`));
  }
  return row;
}
