// Creates elements without HTML strings, so that no text can inject markup.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value === true) made.setAttribute(attribute, "");
    else if (value !== false && value !== null) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function clock(seconds) {
  const rest = (seconds % 60).toFixed(seconds < 60 ? 1 : 0).padStart(seconds < 60 ? 1 : 2, "0");
  return seconds < 60 ? `${rest} s` : `${Math.floor(seconds / 60)}:${rest} min`;
}

// A canvas at the screen's resolution, with a text alternative.
export function canvas(width, height, label) {
  const scale = Math.min(window.devicePixelRatio || 1, 16000 / width);
  const made = element("canvas", { role: "img", "aria-label": label });
  made.width = Math.round(width * scale);
  made.height = Math.round(height * scale);
  made.style.width = `${width}px`;
  made.style.height = `${height}px`;
  const context = made.getContext("2d");
  context.scale(scale, scale);
  return [made, context];
}
