// What does not need a network: the address of a question, and what an answer means. What is thrown is a sentence for a
// model to read.

/** Characters of a city's name: the longest on a map has 85. */
export const MAX_CITY = 100;
/** Bytes of an answer: those of the service have some 500. */
export const MAX_ANSWER = 64 * 1024;
/** Characters that are taken over of a text of the service. */
const MAX_TEXT = 200;

const UNITS = ["metric", "imperial"];
/** Not `\p{Cc}`: the engine knows no properties of Unicode. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f]+/g;

/** The address to ask for the weather of `city`. `base` is the service, as the host's operator has set it. */
export function addressOf(base, city, units) {
  const name = city.trim();
  const length = [...name].length;
  if (length === 0) throw "name a city";
  if (length > MAX_CITY) throw `a city has at most ${MAX_CITY} characters, found ${length}`;
  if (name.search(CONTROL) !== -1) throw "a city has no control characters";
  if (!UNITS.includes(units)) throw `units are one of ${UNITS.join(", ")}`;
  // Not by `URL`, which would take `..` and `\` in a setting for something else than it looks like.
  if (!/^https?:\/\/[^\s/?#@\\]+(\/[A-Za-z0-9._~-]+)*\/?$/.test(base) || /\/\.{1,2}(\/|$)/.test(base)) {
    throw "the address of the weather service is not set up rightly: tell the operator to look at `BASE_URL`";
  }
  return `${base.replace(/\/$/, "")}/data/2.5/weather?q=${encodeURIComponent(name)}&units=${units}`;
}

/** What an answer with this status and text says. */
export function reportOf(status, text, units) {
  if (status !== 200) throw failureOf(status);
  let told;
  try {
    told = JSON.parse(text);
  } catch {
    throw "the weather service answered with something that is no JSON: try again later";
  }
  const main = objectIn(told, "main");
  const city = textIn(told, "name");
  const description = textIn(Array.isArray(told?.weather) ? told.weather[0] : undefined, "description");
  const temperature = numberIn(main, "temp");
  const missing = Object.entries({ name: city, description, temperature }).find(([, value]) => value === undefined);
  if (missing) throw `the weather service answered without a ${missing[0]}: try again later`;
  const humidity = numberIn(main, "humidity");
  return {
    city,
    country: textIn(objectIn(told, "sys"), "country"),
    description,
    temperature,
    feelsLike: numberIn(main, "feels_like"),
    // It is a whole percentage, and nothing else fits in the answer.
    humidity: humidity >= 0 && humidity <= 100 ? Math.round(humidity) : undefined,
    wind: numberIn(objectIn(told, "wind"), "speed"),
    units,
  };
}

function failureOf(status) {
  if (status === 404) return "the weather service knows no such city: look at its spelling";
  if (status === 401 || status === 403) return "the weather service refuses the key of this host: tell the operator";
  if (status === 429) return "the weather service has been asked too often: try again in a minute";
  if (status >= 500) return `the weather service is out of order (${status}): try again later`;
  return `the weather service answered with ${status}, which is no weather`;
}

function objectIn(value, key) {
  const found = Object.hasOwn(Object(value), key) ? value[key] : undefined;
  return typeof found === "object" && found !== null ? found : undefined;
}

function textIn(value, key) {
  const found = Object.hasOwn(Object(value), key) ? value[key] : undefined;
  if (typeof found !== "string" || found.trim() === "") return undefined;
  // Control characters are for terminals, and a model is shown none of them; a half of a pair is no text.
  return [...found.toWellFormed().replace(CONTROL, " ").trim()].slice(0, MAX_TEXT).join("");
}

function numberIn(value, key) {
  const found = Object.hasOwn(Object(value), key) ? value[key] : undefined;
  return typeof found === "number" && Number.isFinite(found) ? found : undefined;
}
