// The tool: settings, a request, an answer.
import { get } from "wasi:config/store@0.2.0-rc.1";
import { MAX_ANSWER, addressOf, reportOf } from "./report.js";

/** Milliseconds for the whole of a request: less than a call has, so that the model is told why. */
const PATIENCE = 8_000;
const SERVICE = "https://api.openweathermap.org";

export const reports = {
  async getWeather(city, units = "metric") {
    const address = addressOf(get("BASE_URL") ?? SERVICE, city, units);
    const late = new Promise((_, reject) => setTimeout(reject, PATIENCE, "the weather service is slow: try again later"));
    const { status, text } = await Promise.race([ask(address), late]);
    return reportOf(status, text, units);
  },
};

/** Asks the service. The key is no matter of this program: the host puts it into the request. */
async function ask(address) {
  let response;
  try {
    response = await fetch(address, { headers: { accept: "application/json" } });
  } catch {
    throw "the weather service cannot be reached from here: try again later, or tell the operator";
  }
  try {
    // The body of a failure is nobody's business: it may say the question, and the key, back.
    return { status: response.status, text: response.status === 200 ? await textOf(response) : "" };
  } catch (error) {
    throw typeof error === "string" ? error : "the weather service broke off in the middle of its answer: try again later";
  }
}

async function textOf(response) {
  const reader = response.body.getReader();
  const parts = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > MAX_ANSWER) throw `the weather service answered with more than ${MAX_ANSWER} bytes, which is no weather`;
    parts.push(part.value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new TextDecoder().decode(bytes);
}
