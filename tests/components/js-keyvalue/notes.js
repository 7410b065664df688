// A program over wasi:keyvalue as a JavaScript author would write it. It knows nothing of the host that runs it.
import { open } from "wasi:keyvalue/store@0.2.0-draft2";
import { Cas, increment, swap } from "wasi:keyvalue/atomics@0.2.0-draft2";
import { getMany, setMany } from "wasi:keyvalue/batch@0.2.0-draft2";

const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder().decode(bytes);

// What a host function throws carries the interface's error as its payload.
const told = (error) => {
  const { tag, val } = error.payload ?? { tag: "other", val: String(error) };
  throw val === undefined ? tag : `${tag}: ${val}`;
};
const attempt = (work) => {
  try {
    return work();
  } catch (error) {
    return told(error);
  }
};

export const notes = {
  write: (bucket, key, text) => attempt(() => open(bucket).set(key, encode(text))),

  read: (bucket, key) =>
    attempt(() => {
      const bytes = open(bucket).get(key);
      return bytes === undefined ? undefined : decode(bytes);
    }),

  remove: (bucket, key) => attempt(() => open(bucket).delete(key)),

  keys: (bucket) =>
    attempt(() => {
      const opened = open(bucket);
      const keys = [];
      let cursor;
      do {
        const page = opened.listKeys(cursor);
        keys.push(...page.keys);
        cursor = page.cursor;
      } while (cursor !== undefined);
      return keys;
    }),

  count: (bucket, key) => attempt(() => increment(open(bucket), key, 1n)),

  copy: (bucket, from, to) =>
    attempt(() => {
      const opened = open(bucket);
      const [pair] = getMany(opened, [from]);
      setMany(opened, [[to, pair[1]]]);
    }),

  append: (bucket, key, text) =>
    attempt(() => {
      const cas = Cas.new(open(bucket), key);
      const before = cas.current();
      swap(cas, encode((before === undefined ? "" : decode(before)) + text));
    }),
};
