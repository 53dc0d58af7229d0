// The life of an app that updates itself: node update.js PLATFORM BASE_URL
// with the builder key in BUILDER_KEY. Deploys two versions to seance, runs the real
// electron-updater at three versions, and fails unless the first update was a full download,
// the second a differential one, and both gave the bytes that were deployed. Then the first build
// is published again as a higher version, and taken by the app that has the second. With
// EXPECT_REDIRECT the apps start when whole downloads have moved to the CDN.
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { build } = require("./fixtures.js");

const [platform, base] = process.argv.slice(2);
const home = fs.mkdtempSync(path.join(os.tmpdir(), "seance-electron-"));
// Where an AppImage runs from; at first a build without a block map.
const appImage = path.join(home, "Seance.AppImage");
fs.writeFileSync(appImage, "an AppImage of another builder");

async function deploy(version) {
  const { directory, files } = build(platform, version);
  const body = { files: files.map(({ name, bytes }) => ({ path: `${directory}/${name}`, content: bytes.toString("base64") })) };
  const response = await fetch(`${base}/deploy`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-builder-key": process.env.BUILDER_KEY },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const result = JSON.parse(text);
  assert.equal(result.filesDeployed, files.length, text);
  assert.deepEqual(result.warnings ?? [], [], text);
  if (process.env.EXPECT_REDIRECT) await redirected(version);
}

// The public copies follow a deploy; until they are complete seance serves everything itself.
async function redirected(version) {
  const url = `${feed(version)}/${encodeURIComponent(build(platform, version).artifact.name)}`;
  const deadline = Date.now() + 60_000;
  let status;
  do {
    assert.ok(Date.now() < deadline, `${url} is still answered ${status}`);
    const response = await fetch(url, { redirect: "manual" });
    status = response.status;
    await response.body?.cancel();
  } while (status !== 302);
}

const feed = version => `${base}/updates/${build(platform, version).directory.split("/")[1]}`;

function start(version) {
  const env = { PATH: process.env.PATH, HOME: home, LOCALAPPDATA: home, APPIMAGE: appImage, PLATFORM: platform, FEED: feed(version), APP_VERSION: version };
  const output = execFileSync(process.execPath, [path.join(__dirname, "client.js")], { env, encoding: "utf8", timeout: 120_000, maxBuffer: 1 << 26 });
  const result = JSON.parse(output.trim().split("\n").at(-1));
  console.log(`--- ${platform} at ${version}\n${result.log.join("\n")}`);
  for (const { status, range, bytes, url } of result.answers) {
    console.log(`${status} ${bytes} bytes, ${range ? range.split(",").length : "no"} ranges: ${url}`);
  }
  assert.equal(result.error, undefined);
  return result;
}

// As the installed app leaves it behind: an AppImage in its place; the Windows installer keeps
// a copy of itself, against which the next update is computed.
function install(file) {
  if (platform === "linux") fs.copyFileSync(file, appImage);
  if (platform === "win32") fs.copyFileSync(file, path.join(home, "seance-updater", "installer.exe"));
}

// The update is `version`, downloaded and installed byte for byte; `built` is the version of the build.
function assertUpdated(result, version, built = version) {
  const { artifact } = build(platform, built);
  assert.equal(result.available, true);
  assert.equal(result.version, version);
  const downloaded = fs.readFileSync(result.files[0]);
  assert.ok(downloaded.equals(artifact.bytes), `${result.files[0]} is not what was deployed`);
  if (platform === "darwin") assert.equal(result.installed, artifact.bytes.length);
  install(result.files[0]);
  const encoded = result.answers.filter(({ encoding, url }) => encoding && !url.includes(".yml"));
  assert.deepEqual(encoded, [], "an artefact was sent with a content encoding");
  return result.answers.filter(({ url, status }) => decodeURIComponent(url).endsWith(artifact.name) && status < 300);
}

async function main() {
  await deploy("1.0.0");
  const full = assertUpdated(start("0.9.0"), "1.0.0");
  const size = build(platform, "1.0.0").artifact.bytes.length;
  assert.deepEqual(full.filter(({ range }) => !range).map(({ status, bytes }) => [status, bytes]), [[200, size]]);

  await deploy("1.1.0");
  const second = start("1.0.0");
  const parts = assertUpdated(second, "1.1.0");
  assert.deepEqual(second.log.filter(line => line.startsWith("error") || line.includes("fallback")), []);
  assert.ok(second.log.some(line => /To download: .*\(50%\)/.test(line)), "no differential plan in the client's log");
  const multipart = parts.filter(({ status, type }) => status === 206 && type?.startsWith("multipart/byteranges"));
  assert.ok(multipart.length >= 2, "more than one batch of ranges was expected");
  assert.ok(multipart.some(({ range }) => range.split(",").length >= 500), "a batch of 500 ranges was expected");
  assert.deepEqual(parts.filter(({ range }) => !range), [], "the artefact was downloaded in full");
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  assert.ok(bytes < size * 0.6, `${bytes} of ${size} bytes were sent`);

  assert.equal(start("1.1.0").available, false);

  // 1.1.0 is broken: its apps are given the build of 1.0.0, which calls itself so, and is offered it again.
  await republish(1, "1.1.1");
  assertUpdated(start("1.1.0"), "1.1.1", "1.0.0");
  const again = start("1.0.0");
  assert.equal(again.available, true);
  assert.equal(again.version, "1.1.1");
  assert.deepEqual(again.answers.filter(({ url }) => !url.includes(".yml")), [], "it has kept the file");
}

async function republish(record, version) {
  const response = await fetch(`${base}/api/releases/republish`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-builder-key": process.env.BUILDER_KEY },
    body: JSON.stringify({ record, version }),
  });
  assert.equal(response.status, 200, await response.text());
}

main()
  .then(() => console.log(`${platform}: full and differential update, as deployed`))
  .catch(error => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => fs.rmSync(home, { recursive: true, force: true }));
