// What the original back end did with a deploy: the whole body in memory, JSON.parse, Buffer.from, one file after another.
import { createServer } from "node:http";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

const [root, port] = process.argv.slice(2);

async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

createServer(async (request, response) => {
  const { files } = JSON.parse(await text(request));
  const deployed = [];
  for (const { path, content } of files) {
    const bytes = Buffer.from(content, "base64");
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
    deployed.push({ path, size: bytes.length });
  }
  const answer = JSON.stringify({ success: true, filesDeployed: deployed.length, files: deployed });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(answer) });
  response.end(answer);
}).listen(Number(port), "127.0.0.1");
