// The y-webrtc protocol on Bun's native WebSocket server, whose topics are native too: bun.js PORT.

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response('okay')
  },
  websocket: {
    message(socket, text) {
      const message = JSON.parse(text)
      switch (message.type) {
        case 'subscribe':
          for (const topic of message.topics) socket.subscribe(topic)
          break
        case 'unsubscribe':
          for (const topic of message.topics) socket.unsubscribe(topic)
          break
        case 'publish':
          message.clients = server.subscriberCount(message.topic)
          server.publish(message.topic, JSON.stringify(message))
          break
        case 'ping':
          socket.send('{"type":"pong"}')
      }
    },
  },
})
