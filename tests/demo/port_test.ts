import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { DeployError } from "../../lib/core/error.ts";
import { freePorts, isFree, refuseTaken } from "../../scripts/demo/daemon.ts";

Deno.test("refuseTaken() names the port that another program has", async () => {
  const [port] = await freePorts(1);
  await refuseTaken("MinIO", port!, "end it");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  assert.equal(await isFree(port!), false);
  await assert.rejects(
    refuseTaken("MinIO", port!, "end it"),
    (error: DeployError) => error.exitCode === 3 && error.message.includes(String(port)),
  );
  await new Promise((resolve) => server.close(resolve));
});

Deno.test("freePorts() gives each port once", async () => {
  assert.equal(new Set(await freePorts(40)).size, 40);
});
