// Upstreams that speak HTTP/2: `h2c` without TLS, `https` with the certificate and key that are named.
// Prints its port; answers with what it was asked, as JSON.
import http2 from "node:http2";
import { readFileSync } from "node:fs";

const [kind, certificate, key] = process.argv.slice(2);
const answer = (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { headers, httpVersion, method, url } = request;
    const servername = request.socket?.servername ?? request.stream?.session?.socket?.servername;
    const body = Buffer.concat(chunks).toString("latin1");
    response.end(JSON.stringify({ headers, httpVersion, method, url, servername, body }));
  });
};
const server =
  kind === "h2c"
    ? http2.createServer(answer)
    : http2.createSecureServer(
        { cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true },
        answer,
      );
server.on("upgrade", (request, socket) => {
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
  );
  socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
