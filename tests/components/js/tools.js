// A component as a JavaScript author would write it, with every default feature of componentize-js.

export const tools = {
  echo(text) {
    return text;
  },

  add(a, b) {
    return a + b; // s64 arrives as a BigInt
  },

  antipode(place) {
    return {
      ...place,
      latitude: -place.latitude,
      longitude: place.longitude > 0 ? place.longitude - 180 : place.longitude + 180,
      height: undefined,
    };
  },

  refuse(reason) {
    throw reason; // what is thrown becomes the err of the result
  },

  async fetchText(url, body) {
    const response = await fetch(url, body === undefined ? {} : { method: "POST", body }).catch((error) => {
      throw String(error);
    });
    return `${response.status} ${await response.text()}`;
  },

  spin() {
    for (let turns = 0; ; turns++) {
      globalThis.turns = turns;
    }
  },
};
