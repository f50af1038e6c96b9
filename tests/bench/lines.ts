// Lines between programs of this machine that are not as they should be.
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A line to a port, or one behind which nobody speaks. */
export interface Line extends AsyncDisposable {
  /** Of ours, where it begins. */
  port: number;
  /** Bytes that have come back so far. */
  bytes: number;
}

/** A line to the port on which everything takes so many ms longer, each way; undefined: the kernel answers alone. */
export async function lineTo(port: number | undefined, latency = 0): Promise<Line> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    kept(near);
    if (port === undefined) return;
    const far = kept(connect(port, "127.0.0.1"));
    far.on("data", (data) => line.bytes += data.length);
    pass(near, far);
    pass(far, near);
  });

  function kept(socket: Socket): Socket {
    sockets.add(socket);
    return socket.setNoDelay(true).on("error", () => socket.destroy())
      .on("close", () => sockets.delete(socket));
  }

  function pass(from: Socket, to: Socket): void {
    from.on("data", (data) => setTimeout(() => to.destroyed || to.write(data), latency));
    from.on("close", () => setTimeout(() => to.destroy(), latency));
  }

  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const line: Line = {
    port: (server.address() as AddressInfo).port,
    bytes: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
  return line;
}
