// What is asked of the server, with a key where it needs one.
let key = sessionStorage.getItem("key") || "";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useKey(value) {
  key = value;
  sessionStorage.setItem("key", value);
}

export async function ask(path, body) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, body ? { method: "POST", body, headers } : { headers });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  let message = `The server refuses (${answer.status}).`;
  try {
    message = (await answer.json()).error.message;
  } catch { /* no words of its own */ }
  throw new Refused(answer.status, message);
}

export function form(file, fields) {
  const data = new FormData();
  data.append("file", file, file.name);
  for (const [name, value] of fields) data.append(name, value);
  return data;
}

export function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return key ? new WebSocket(url, ["vosk", `openai-insecure-api-key.${key}`]) : new WebSocket(url);
}
