// The page: what the server can do decides what is shown.
import { element } from "/page/elements.js";
import { Microphone } from "/page/microphone.js";
import { answerRecord } from "/page/records.js";
import { ask, useKey } from "/page/server.js";
import { transcribe } from "/page/transcript.js";

const at = (id) => document.getElementById(id);
let microphone = null, recorded = 0, models = [];

async function begin() {
  try {
    models = (await (await ask("/v1/models")).json()).data;
  } catch (error) {
    at("key").hidden = error.status !== 401;
    at("models").textContent = error.message;
    return;
  }
  at("key").hidden = true;
  at("models").textContent = models.map((model) => `${model.id} (${model.kind})`).join(", ");
  const others = models.filter((model) => model.method !== "transcribe");
  at("speak").hidden = at("files").hidden = others.length === models.length;
  at("records").hidden = !others.length;
  at("record-model").replaceChildren(...others.map((model) => element("option", { value: model.id }, `${model.id} (${model.kind})`)));
}

// Files that were chosen or dropped, one after the other.
function receives(input, take) {
  const zone = input.closest(".drop");
  const all = async (files) => {
    for (const file of [...files]) await take(file);
  };
  input.addEventListener("change", async () => {
    await all(input.files);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    all(event.dataTransfer.files);
  });
}

function listening(is) {
  at("listen").setAttribute("aria-pressed", is);
  at("listen").textContent = is ? "Stop listening" : "Start listening";
}

async function toggle() {
  if (microphone) {
    at("listen").disabled = true;
    microphone.stop();
    return;
  }
  at("final").textContent = at("partial").textContent = "";
  at("listen").disabled = true;
  microphone = new Microphone({
    heard: (certain, partial) => {
      if (at("final").textContent !== certain) at("final").textContent = certain;
      at("partial").textContent = partial;
    },
    level: (value) => { at("level").style.transform = `scaleX(${value})`; },
    ended: async (reason, sound) => {
      microphone = null;
      listening(false);
      at("listen").disabled = false;
      at("level").style.transform = "scaleX(0)";
      at("status").textContent = reason || "The recording below was recognized once more, as a whole.";
      if (sound) await transcribe(new File([sound], `recording-${++recorded}.wav`, { type: "audio/wav" }), at("results"));
    },
  });
  try {
    await microphone.start();
    listening(true);
    at("status").textContent = "Listening. Press the button or Escape to stop.";
  } catch (error) {
    microphone.stream?.getTracks().forEach((track) => track.stop());
    microphone = null;
    at("status").textContent = error.name === "NotAllowedError" ? "The browser does not allow the microphone." : error.message;
  }
  at("listen").disabled = false;
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("secret").value);
  begin();
});
at("listen").addEventListener("click", toggle);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && microphone && !at("listen").disabled) toggle();
});
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault()); // a miss must not leave the page
receives(at("recordings"), (file) => transcribe(file, at("results")));
receives(at("signals"), (file) => {
  const model = models.find((one) => one.id === at("record-model").value);
  return answerRecord(file, model, at("record-rate").value, at("results"));
});
begin();
