// One start of an app at APP_VERSION on PLATFORM: checks FEED for an update, downloads it,
// and prints what happened as one line of JSON. Its files live under HOME.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const { PLATFORM, FEED, HOME } = process.env;
Object.defineProperty(process, "platform", { value: PLATFORM });
Object.defineProperty(process, "arch", { value: PLATFORM === "darwin" ? "arm64" : "x64" });
process.resourcesPath = path.join(HOME, "resources");
fs.mkdirSync(process.resourcesPath, { recursive: true });
fs.writeFileSync(
  path.join(process.resourcesPath, "app-update.yml"),
  `provider: generic\nurl: ${FEED}\nupdaterCacheDirName: seance-updater\n`,
);

const updaters = { darwin: "MacUpdater", win32: "NsisUpdater", linux: "AppImageUpdater" };
const electron = require("electron");
const updater = new (require("electron-updater")[updaters[PLATFORM]])();
const log = [];
updater.logger = Object.fromEntries(["info", "warn", "error"].map(level => [level, line => log.push(`${level}: ${line}`)]));
updater.autoDownload = false;

async function main() {
  const check = await updater.checkForUpdates();
  const files = check.isUpdateAvailable ? await updater.downloadUpdate() : [];
  return { available: check.isUpdateAvailable, version: check.updateInfo.version, files, installed: electron.autoUpdater.received?.length };
}

main()
  .catch(error => ({ error: String(error.stack ?? error) }))
  .then(result => {
    process.stdout.write(`${JSON.stringify({ ...result, log, answers: electron.answers })}\n`, () => process.exit());
  });
