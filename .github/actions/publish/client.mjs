// Speaks with the daemon: requests, their repetition, and parts of files that are read while they are sent.
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";

/** Without a byte in either direction. */
export const PATIENCE = 60_000;
/** For a bucket: it may be where only the daemon reaches it. */
const SIGNED_PATIENCE = 20_000;
/** For what the daemon does with the bytes that it has, which grows with them. */
export const LONG_PATIENCE = 15 * 60_000;
const ANSWER_MOST = 64 * 1024 * 1024;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;

/** Each class is an exit code. */
export class Failure extends Error {
  code = 1;
  reasons = [];
}
export class Usage extends Failure {
  code = 2;
}
export class RefusedBuild extends Failure {
  code = 3;
}
export class Unreachable extends Failure {
  code = 4;
}
export class Refused extends Failure {
  constructor(url, status, body, retryAfter) {
    const more = body?.message && body.message !== body.error ? `: ${body.message}` : "";
    super(`${url} answered ${status}: ${body ? body.error + more : "the answer is not seance's"}`);
    Object.assign(this, { status, body, retryAfter, code: status === 401 || status === 403 ? 5 : 1 });
  }
}

export class Client {
  constructor(to, app, key, { parallel, tries }, say) {
    let url;
    try {
      url = new URL(to);
    } catch {
      throw new Usage(`${to} is not the address of a daemon`);
    }
    if (!["http:", "https:"].includes(url.protocol)) throw new Usage(`${to} is not the address of a daemon`);
    const agent = transport => new transport.Agent({ keepAlive: true, maxSockets: parallel + 1 });
    this.agents = { "http:": agent(http), "https:": agent(https) };
    this.base = `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}${app ? `/apps/${app}` : ""}`;
    this.key = key;
    this.tries = tries;
    this.say = say;
  }

  /** Asks until there is an answer that will not change; every request of ours may be made twice. */
  ask(method, path, body, patience = PATIENCE) {
    const bytes = Buffer.from(body === undefined ? "" : JSON.stringify(body));
    return this.again(path, async () => {
      const answer = await this.exchange(method, this.base + path, { headers: this.json(), bytes, patience });
      try {
        return JSON.parse(answer || "null");
      } catch {
        throw new Failure(`the answer of ${this.base}${path} is not JSON`);
      }
    });
  }

  /** Sends `length` bytes of `content` from `offset` on; `counted` is told of the bytes, and of those to be sent again. */
  put(path, what, content, offset, length, counted) {
    return this.again(what, () => this.part(this.base + path, this.headers(), { content, offset, length }, counted, PATIENCE));
  }

  /** The same, once, to where a signed URL says; `path` is where the daemon gives it. */
  async putSigned(path, content, offset, length, counted) {
    const asked = Buffer.from(JSON.stringify({ md5: await md5(content, offset, length) }));
    const signed = JSON.parse(await this.exchange("POST", this.base + path, { headers: this.json(), bytes: asked, patience: PATIENCE }));
    await this.part(signed.url, signed.headers, { content, offset, length }, counted, SIGNED_PATIENCE);
  }

  headers() {
    return { "x-builder-key": this.key };
  }

  json() {
    return { ...this.headers(), "content-type": "application/json" };
  }

  async part(url, headers, part, counted, patience) {
    const { content } = part;
    if (content.path && fs.statSync(content.path).size !== content.size) {
      throw new Failure(`${content.path} changed while it was being sent`);
    }
    let taken = 0;
    const meter = bytes => {
      taken += bytes;
      counted(bytes);
    };
    try {
      await this.exchange("PUT", url, { headers, part, meter, patience });
    } catch (error) {
      counted(-taken);
      throw error;
    }
  }

  async again(what, work) {
    let pause = FIRST_PAUSE;
    for (let left = this.tries - 1; ; left--) {
      try {
        return await work();
      } catch (error) {
        const passes = error instanceof Unreachable || (error instanceof Refused && (error.status >= 500 || [408, 429].includes(error.status)));
        if (!passes || left === 0) throw error;
        const jittered = pause * (0.5 + Math.random() / 2);
        const wait = Math.max(jittered, Math.min((error.retryAfter ?? 0) * 1000, LONGEST_PAUSE));
        this.say(`again in ${(wait / 1000).toFixed(1)} s: ${what}: ${error.message}`);
        await new Promise(resolve => setTimeout(resolve, wait));
        pause = Math.min(pause * 2, LONGEST_PAUSE);
      }
    }
  }

  /** The body of a success. */
  exchange(method, address, { headers, bytes, part, meter, patience }) {
    const length = part ? part.length : bytes.length;
    const { protocol } = new URL(address);
    // A signature is as good as a key: it stands in no message.
    const [url] = address.split("?");
    return new Promise((resolve, reject) => {
      let answered = false;
      let source;
      const failed = error => {
        source?.destroy();
        // What follows an answer, such as the end of a connection whose request was not read, does not change it.
        if (!answered) reject(error instanceof Failure ? error : new Unreachable(`cannot reach ${url}: ${error.message || error.code}`));
      };
      const options = { method, headers: { ...headers, "content-length": length }, agent: this.agents[protocol] };
      const request = (protocol === "https:" ? https : http).request(address, options, response => {
        answered = true;
        // A body that nobody will read must not keep the connection.
        const settled = () => request.writableFinished || request.destroy();
        read(response, url).then(resolve, reject).finally(settled);
      });
      request.on("error", failed);
      request.setTimeout(patience, () => {
        const late = new Unreachable(`${url} did not answer within ${patience / 1000} seconds`);
        answered ? reject(late) : failed(late);
        request.destroy();
      });
      if (!part) return request.end(bytes);
      const { content, offset } = part;
      if (content.bytes || length === 0) {
        meter(length);
        return request.end((content.bytes ?? Buffer.alloc(0)).subarray(offset, offset + length));
      }
      source = fs.createReadStream(content.path, { start: offset, end: offset + length - 1, highWaterMark: 128 * 1024 });
      source.on("data", chunk => meter(chunk.length));
      source.on("error", error => {
        failed(new Failure(`cannot read ${content.path}: ${error.message}`));
        request.destroy();
      });
      source.pipe(request);
    });
  }

  close() {
    for (const agent of Object.values(this.agents)) agent.destroy();
  }
}

async function md5(content, offset, length) {
  const digest = crypto.createHash("md5");
  if (content.bytes) return digest.update(content.bytes.subarray(offset, offset + length)).digest("hex");
  try {
    for await (const chunk of fs.createReadStream(content.path, { start: offset, end: offset + length - 1, highWaterMark: 1 << 18 })) {
      digest.update(chunk);
    }
  } catch (error) {
    throw new Failure(`cannot read ${content.path}: ${error.message}`);
  }
  return digest.digest("hex");
}

function read(response, url) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let length = 0;
    const early = () => reject(new Unreachable(`the answer of ${url} ended early or is too long`));
    response.on("data", chunk => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > ANSWER_MOST) response.destroy();
    });
    response.on("error", early);
    response.on("close", () => response.complete || early());
    response.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8");
      if (response.statusCode >= 200 && response.statusCode < 300) return resolve(text);
      let body;
      try {
        body = JSON.parse(text);
      } catch {
        body = undefined;
      }
      const seconds = Number(response.headers["retry-after"]);
      reject(new Refused(url, response.statusCode, body, Number.isFinite(seconds) ? seconds : undefined));
    });
  });
}
