// Records of signals: the curve, and what a model says of it.
import { canvas, clock, color, element } from "/page/elements.js";
import { ask, form } from "/page/server.js";

const COLORS = ["--one", "--two", "--three", "--four", "--five", "--six"];
const ROW = 90, SHOWN = 12;

// Ask a model about a record, and show the answer in an element.
export async function answerRecord(file, model, rate, into) {
  const status = element("p", { class: "soft", role: "status" }, "Asking …");
  const card = element("article", { class: "card", "aria-busy": "true" },
    element("div", { class: "head" }, element("h3", {}, file.name), element("span", { class: "soft" }, model.id)), status);
  into.prepend(card);
  try {
    const fields = [["model", model.id], ["preview", "true"], ...(rate ? [["rate", rate]] : [])];
    const answer = await (await ask(`/v1/${model.method}`, form(file, fields))).json();
    status.remove();
    card.append(element("p", { class: "text" }, summary(answer)));
    curves(card, file, answer);
    const rows = table(answer);
    if (rows) card.append(rows);
  } catch (error) {
    status.className = "wrong";
    status.setAttribute("role", "alert");
    status.textContent = error.message;
  }
  card.removeAttribute("aria-busy");
  return card;
}

function summary(answer) {
  if (answer.label !== undefined) return answer.label;
  if (answer.labels) return answer.labels.join(", ") || "(no class)";
  if (answer.segments) return `${answer.segments.length} stretches`;
  return `The next ${answer.times.length} values of ${Object.keys(answer.channels).join(", ")}`;
}

function curves(card, file, answer) {
  const { channels, duration } = answer.preview, shown = channels.slice(0, SHOWN);
  const future = answer.times ? Math.max(0, answer.times[answer.times.length - 1] - duration) : 0;
  const width = card.clientWidth - 36, scale = width / ((duration + future) || 1);
  const [picture, context] = canvas(width, ROW * shown.length, `Curves of ${file.name}, ${clock(duration)}; the answer follows.`);
  picture.className = "plot";
  shown.forEach((channel, row) => {
    const ahead = answer.channels ? Object.values(answer.channels)[row] || [] : [];
    const low = Math.min(...channel.least, ...ahead.flat()), high = Math.max(...channel.most, ...ahead.flat());
    const y = (value) => ROW * row + 6 + (ROW - 12) * (high > low ? (high - value) / (high - low) : 0.5);
    if (answer.segments) segments(context, answer.segments, scale, row);
    context.strokeStyle = context.fillStyle = color(COLORS[row % COLORS.length]);
    context.beginPath();
    channel.least.forEach((least, i) => {
      const x = (i / Math.max(1, channel.least.length - 1)) * duration * scale;
      context.lineTo(x, y(channel.most[i]));
      context.lineTo(x, y(least));
    });
    context.stroke();
    if (ahead.length) forecast(context, answer.times, ahead, scale, y);
  });
  card.append(picture);
  if (channels.length > SHOWN) card.append(element("p", { class: "soft" }, `${channels.length - SHOWN} more channels are not drawn.`));
}

function segments(context, all, scale, row) {
  const names = [...new Set(all.map((one) => one.label))];
  for (const one of all) {
    context.fillStyle = color(COLORS[names.indexOf(one.label) % COLORS.length]);
    context.globalAlpha = 0.18;
    context.fillRect(one.start * scale, ROW * row, (one.end - one.start) * scale, ROW);
    context.globalAlpha = 1;
  }
}

// The range between the outer quantiles, and the middle one.
function forecast(context, times, ahead, scale, y) {
  const middle = Math.floor(ahead[0].length / 2);
  context.globalAlpha = 0.25;
  context.beginPath();
  times.forEach((time, i) => context.lineTo(time * scale, y(ahead[i][ahead[i].length - 1])));
  [...times].reverse().forEach((time, i) => context.lineTo(time * scale, y(ahead[times.length - 1 - i][0])));
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([5, 3]);
  context.beginPath();
  times.forEach((time, i) => context.lineTo(time * scale, y(ahead[i][middle])));
  context.stroke();
  context.setLineDash([]);
}

function table(answer) {
  if (answer.probabilities) {
    const rows = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]).map(([name, probability]) => {
      const bar = element("i", {});
      bar.style.width = `${100 * probability}%`;
      return element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "bar" }, bar),
        element("td", { class: "n" }, `${(100 * probability).toFixed(1)} %`));
    });
    return made(["Class", "", "Probability"], rows);
  }
  if (answer.segments) {
    return made(["Class", "From (s)", "To (s)", "Probability"], answer.segments.slice(0, 200).map((one) => element("tr", {},
      element("th", { scope: "row" }, one.label), element("td", { class: "n" }, one.start.toFixed(2)),
      element("td", { class: "n" }, one.end.toFixed(2)), element("td", { class: "n" }, `${(100 * one.probability).toFixed(1)} %`))));
  }
  const middle = Math.floor(answer.quantiles.length / 2), names = Object.keys(answer.channels);
  return made(["Second", ...names], answer.times.slice(0, 50).map((time, i) => element("tr", {},
    element("th", { scope: "row" }, `${+time.toFixed(3)}`),
    ...names.map((name) => element("td", { class: "n" }, `${answer.channels[name][i][middle].toPrecision(4)}`)))));
}

function made(names, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows));
}
