// A receiver of cdrhub's webhooks: verifies each request and acts exactly once on each event. Node 18 or newer, nothing else.
//
//   WEBHOOK_SECRETS="whsec_..." node receiver.mjs 127.0.0.1:9000 events.ndjson
//
// Whoever knows the address may post to it, so nothing is believed before its signature fits (Standard Webhooks,
// https://github.com/standard-webhooks/standard-webhooks). cdrhub sends an event again when it did not see the answer; its
// `webhook-id` is the same then. So what follows from an event is written durably together with its id, and the answer is
// given after it. Here both are one line of a file; with a database they are one transaction.

import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const MAX_BODY = 1_000_000; // bytes; an event has at most 20,000
const MIN_KEY = 24; // bytes; with an empty key anybody could sign
const TOLERANCE = 300; // seconds between the sender's clock and ours; older requests may be replayed by somebody

/** Whether `signature` is that of these bytes with this key. */
function fits(key, signed, signature) {
  const right = createHmac("sha256", key).update(signed).digest();
  const given = Buffer.from(signature, "base64");
  return given.length === right.length && timingSafeEqual(given, right);
}

/** The id of a request that is genuine; null for any other. `body` holds the bytes exactly as they came. */
export function verify(body, headers, keys, now = Date.now() / 1000) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  if (id === "" || !/^\d{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE) return null;
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const genuine = (headers["webhook-signature"] ?? "").split(" ").some((word) => {
    const [version, signature] = word.split(",", 2); // one for each secret while they are changed
    return version === "v1" && signature && keys.some((key) => fits(key, signed, signature));
  });
  return genuine ? id : null;
}

/** Lines that were written whole; half a line is of an event that was never answered, and comes again. */
function readLines(file) {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text.split("\n").slice(0, -1).filter((line) => line !== "");
}

/** Events that were acted on. */
class Inbox {
  constructor(file) {
    this.known = new Set();
    for (const line of readLines(file)) {
      try {
        this.known.add(JSON.parse(line).id);
      } catch {
        // half a line of a crash, ended by the next start
      }
    }
    this.file = openSync(file, "a");
    writeFileSync(this.file, "\n");
  }

  /** Act on an event unless that was done before. */
  take(event) {
    if (this.known.has(event.id)) return;
    writeFileSync(this.file, `${JSON.stringify(event)}\n`); // all of it, or the process ends and nothing is answered
    fsyncSync(this.file);
    this.known.add(event.id);
    // What you do with it. Types that you do not know are to be ignored: new ones may come.
    console.log(event.type, event.subject, event.data.disposition ?? event.data.reason ?? "");
  }

  close() {
    closeSync(this.file);
  }
}

/** The body's bytes; null if there are too many. */
async function read(request) {
  const pieces = [];
  let length = 0;
  for await (const piece of request) {
    length += piece.length;
    if (length > MAX_BODY) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const [listen = "127.0.0.1:9000", file = "events.ndjson"] = process.argv.slice(2);
const keys = (process.env.WEBHOOK_SECRETS ?? "")
  .split(" ")
  .filter((word) => word !== "")
  .map((word) => Buffer.from(word.replace(/^whsec_/, ""), "base64"));
if (keys.length === 0 || keys.some((key) => key.length < MIN_KEY)) {
  console.error("WEBHOOK_SECRETS must hold the secret of [[broadcast.webhooks]]: whsec_…");
  process.exit(78);
}

const inbox = new Inbox(file);
const server = createServer(async (request, response) => {
  let status = 405;
  if (request.method === "POST") {
    const body = await read(request).catch(() => null);
    if (body === null) {
      status = 413;
    } else if (verify(body, request.headers, keys) === null) {
      status = 401;
    } else {
      inbox.take(JSON.parse(body.toString("utf8")));
      status = 204; // also when it was known: it need not come again
    }
  }
  response.writeHead(status).end();
});
server.keepAliveTimeout = 120_000;
const colon = listen.lastIndexOf(":");
server.listen(Number(listen.slice(colon + 1)), listen.slice(0, colon));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    inbox.close();
    process.exit(0);
  });
}
