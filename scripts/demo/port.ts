// TCP ports of the loopback interface.
import { createServer } from "node:net";
import { DeployError, ExitCode } from "../../lib/core/error.ts";

/** Whether nobody listens on the port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

// Below the range that the kernel takes for outgoing connections (32768 and up).
const FIRST = 20_000, LAST = 32_000;

/** Free ports, each another one and none of `taken`; two runs at once get different ones. */
export async function freePorts(count: number, taken: number[] = []): Promise<number[]> {
  const found: number[] = [];
  const first = FIRST + Math.floor(Math.random() * (LAST - FIRST));
  for (let port = first; found.length < count; port++) {
    if (!taken.includes(port) && await isFree(port)) found.push(port);
  }
  return found;
}

/** Throws exit 3 when another program has one of the ports that `who` needs. */
export async function refuseTaken(who: string, ports: number[], fix: string): Promise<void> {
  for (const port of ports) {
    if (await isFree(port)) continue;
    throw new DeployError(`Cannot start ${who}: another program has port ${port}`, {
      exitCode: ExitCode.prerequisite,
      where: `127.0.0.1:${port} (who: ss -ltnp 'sport = :${port}')`,
      fix,
    });
  }
}
