// What electron-updater uses of Electron, on Node: `net` as Chromium's network stack
// behaves (redirects, Accept-Encoding), `autoUpdater` as Squirrel.Mac behaves.
"use strict";
const { EventEmitter } = require("node:events");
const http = require("node:http");
const zlib = require("node:zlib");

const decoders = { gzip: zlib.createGunzip, br: zlib.createBrotliDecompress, deflate: zlib.createInflate };

// Every answer that `net` got, in order: { url, range, status, type, encoding, bytes }.
const answers = [];

class Request extends EventEmitter {
  constructor(options) {
    super();
    this.options = options;
    this.send(new URL(`${options.protocol}//${options.hostname}${options.port ? `:${options.port}` : ""}${options.path}`));
  }

  send(url) {
    this.url = url;
    this.redirected = null;
    const headers = { "accept-encoding": "gzip, deflate, br", ...this.options.headers };
    this.request = http.request(url, { method: this.options.method ?? "GET", headers });
    this.request.on("response", response => this.answered(response, headers.Range ?? headers.range));
    this.request.on("error", error => this.aborted || this.emit("error", error));
  }

  answered(response, range) {
    const { statusCode: status, headers } = response;
    const answer = { url: this.url.href, range, status, type: headers["content-type"], encoding: headers["content-encoding"], bytes: 0 };
    answers.push(answer);
    if (status >= 300 && status < 400 && headers.location) {
      response.resume();
      this.redirected = new URL(headers.location, this.url);
      if (this.options.redirect !== "manual") {
        this.followRedirect();
        this.end();
      } else if (!this.emit("redirect", status, "GET", this.redirected.href, headers)) {
        this.emit("error", new Error("Redirect was cancelled"));
      }
      return;
    }
    response.on("data", chunk => (answer.bytes += chunk.length));
    const decoder = decoders[answer.encoding]?.();
    if (!decoder) return this.emit("response", response);
    const body = response.pipe(decoder);
    this.emit("response", Object.assign(body, { statusCode: status, statusMessage: response.statusMessage, headers }));
  }

  followRedirect() {
    this.send(this.redirected);
    if (this.ended) this.request.end();
  }

  abort() {
    this.aborted = true;
    this.request.destroy();
  }

  end(data) {
    this.ended = true;
    this.request.end(data);
  }
}

// Squirrel.Mac asks the feed for the address of the .zip and fetches it.
class NativeUpdater extends EventEmitter {
  setFeedURL(feed) {
    this.feed = feed;
  }

  async checkForUpdates() {
    try {
      const { url } = await (await fetch(this.feed.url, { headers: this.feed.headers })).json();
      this.received = Buffer.from(await (await fetch(url)).arrayBuffer());
      this.emit("update-downloaded");
    } catch (error) {
      this.emit("error", error);
    }
  }
}

const app = Object.assign(new EventEmitter(), {
  isPackaged: true,
  whenReady: async () => {},
  getName: () => "Seance",
  getVersion: () => process.env.APP_VERSION,
  getAppPath: () => process.resourcesPath,
  getPath: () => process.env.HOME,
  quit: () => {},
  relaunch: () => {},
});

module.exports = {
  app,
  answers,
  autoUpdater: new NativeUpdater(),
  net: { request: options => new Request(options) },
  session: { fromPartition: () => ({}) },
};
