import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_CITY, addressOf, reportOf } from "../src/report.js";

const BASE = "https://api.openweathermap.org";
const thrown = (work) => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
};

test("a city is one part of the address, whatever it holds", () => {
  for (const [city, part] of [
    ["Paris", "Paris"],
    [" Paris,FR ", "Paris%2CFR"],
    ["Zürich", "Z%C3%BCrich"],
    ["São Paulo", "S%C3%A3o%20Paulo"],
    ["東京", "%E6%9D%B1%E4%BA%AC"],
    ["a&appid=1#x?y/../z", "a%26appid%3D1%23x%3Fy%2F..%2Fz"],
    ["💧".repeat(MAX_CITY), "%F0%9F%92%A7".repeat(MAX_CITY)],
  ]) {
    const address = addressOf(BASE, city, "metric");
    assert.equal(address, `${BASE}/data/2.5/weather?q=${part}&units=metric`);
    assert.equal(new URL(address).searchParams.get("q"), city.trim());
  }
});

test("what is no city is refused", () => {
  for (const city of ["", "   ", "x".repeat(MAX_CITY + 1), "a\u0000b", "a\nb", "a\u009bb"]) {
    assert.equal(typeof thrown(() => addressOf(BASE, city, "metric")), "string", JSON.stringify(city));
  }
  assert.match(thrown(() => addressOf(BASE, "Paris", "kelvin")), /metric, imperial/);
});

test("the base is an origin, perhaps with a path", () => {
  for (const base of ["http://127.0.0.1:8080", "http://[::1]:8080/", "https://proxy.example/weather/v1"]) {
    assert.equal(new URL(addressOf(base, "a", "metric")).origin, new URL(base).origin);
  }
  const wrong = ["", "api.example", "ftp://a", "https://u:p@a", "https://a?x", "https://a#x", "https://a/../b", "https://a/.", "https://a\\b"];
  for (const base of [...wrong, "https://a b", "https:///a", " https://a"]) {
    assert.match(thrown(() => addressOf(base, "a", "metric")), /BASE_URL/, base);
  }
});

const answer = (change) => JSON.stringify({
  name: "Paris", sys: { country: "FR" }, weather: [{ description: "light rain" }],
  main: { temp: 11.5, feels_like: 10, humidity: 87 }, wind: { speed: 4.1 }, ...change,
});

test("an answer becomes a report", () => {
  assert.deepEqual(reportOf(200, answer({}), "imperial"), {
    city: "Paris", country: "FR", description: "light rain", temperature: 11.5, feelsLike: 10, humidity: 87, wind: 4.1,
    units: "imperial",
  });
  const least = reportOf(200, answer({ sys: null, wind: "x", main: { temp: -0.5, humidity: 101 } }), "metric");
  assert.deepEqual(least, {
    city: "Paris", country: undefined, description: "light rain", temperature: -0.5, feelsLike: undefined,
    humidity: undefined, wind: undefined, units: "metric",
  });
  assert.equal(reportOf(200, answer({ main: { temp: 1, humidity: 86.6 } }), "metric").humidity, 87);
});

test("texts are bounded, and plain", () => {
  const { city } = reportOf(200, answer({ name: `a\u001b[2J\nb${"x".repeat(1000)}` }), "metric");
  assert.equal(city.length, 200);
  assert.ok(city.startsWith("a [2J b"));
  assert.equal(reportOf(200, answer({ name: "a\ud800" }), "metric").city, "a\ufffd");
});

test("an answer without what matters is none", () => {
  for (const [change, word] of [
    [{ name: undefined }, "name"], [{ name: " " }, "name"], [{ name: 7 }, "name"],
    [{ weather: [] }, "description"], [{ weather: "x" }, "description"], [{ weather: [null] }, "description"],
    [{ main: {} }, "temperature"], [{ main: { temp: "11" } }, "temperature"], [{ main: null }, "temperature"],
  ]) {
    assert.match(thrown(() => reportOf(200, answer(change), "metric")), new RegExp(`without a ${word}`));
  }
  for (const text of ["null", "7", "[]", '"x"', '{"__proto__": {"name": "x"}}']) {
    assert.match(thrown(() => reportOf(200, text, "metric")), /without a name/, text);
  }
  for (const text of ["", "<html>", '{"name":', "\ufffd"]) {
    assert.match(thrown(() => reportOf(200, text, "metric")), /no JSON/, text);
  }
});

test("each failure says what to do", () => {
  for (const [status, words] of [
    [404, /no such city/], [401, /refuses the key/], [403, /refuses the key/], [429, /too often/], [500, /out of order/],
    [503, /out of order/], [301, /301/], [204, /204/], [418, /418/],
  ]) {
    assert.match(thrown(() => reportOf(status, answer({}), "metric")), words);
  }
});
