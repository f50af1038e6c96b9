import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { reading } from "../../../lib/kube/api.ts";
import { keepWay, takeWay } from "../../../lib/kube/proxy.ts";
import { openSubject } from "../../../lib/probe/check.ts";
import { openProxy } from "../../../lib/probe/http.ts";
import { ways } from "../../support/ways.ts";

const SERVICE = { namespace: "logging", name: "opensearch", port: "http" };

Deno.test("takeWay(): one that is dropped after its keeper has gone is there for others to the end", async () => {
  await using fake = await ways();
  const keeper = keepWay(fake.cluster);
  const one = await takeWay(fake.cluster), other = await takeWay(fake.cluster);
  await keeper[Symbol.asyncDispose]();
  one.drop();
  await one[Symbol.asyncDispose]();
  assert.equal(await (await other.fetch("/")).text(), "here");
  await other[Symbol.asyncDispose]();
});

Deno.test("takeWay(): who comes too late leaves no failure behind that nobody hears of", async () => {
  await using fake = await ways("exit 1");
  await using _ = keepWay(fake.cluster);
  await assert.rejects(takeWay(fake.cluster, AbortSignal.abort("late")));
  await sleep(300);
});

Deno.test("takeWay(): one that does not come up is waited for no longer than by who waits, and the next opens another", async () => {
  await using fake = await ways("[ -e well ] || exec sleep 50");
  const keeper = keepWay(fake.cluster);
  await assert.rejects(takeWay(fake.cluster, AbortSignal.timeout(500)));
  await writeFile(join(fake.folder, "well"), "");
  {
    await using way = await takeWay(fake.cluster, AbortSignal.timeout(3000));
    assert.equal(await (await way.fetch("/")).text(), "here");
  }
  const begun = Date.now();
  await keeper[Symbol.asyncDispose]();
  assert.ok(Date.now() < begun + 5000);
});

Deno.test("takeWay(): of one that does not come up its keeper ends the wait", async () => {
  await using fake = await ways("exec sleep 20");
  const keeper = keepWay(fake.cluster);
  const cut = new AbortController();
  const taking = takeWay(fake.cluster, cut.signal);
  taking.catch(() => {});
  while ((await fake.begun()).length === 0) await sleep(20);
  cut.abort();
  const begun = Date.now();
  await keeper[Symbol.asyncDispose]();
  await assert.rejects(taking);
  assert.ok(Date.now() < begun + 8000);
});

Deno.test("takeWay(): of one that never comes up a reading says that there is no answer", async () => {
  await using fake = await ways("exec sleep 20");
  const { now } = Date;
  await using _ = keepWay(fake.cluster);
  const looking = reading(fake.cluster, (api) => api.served(), 50);
  looking.catch(() => {});
  while ((await fake.begun()).length === 0) await sleep(20);
  Date.now = () => now() + 61_000;
  try {
    const why = ["no answer within 60 s: kubectl proxy does not listen"];
    await assert.rejects(looking, { exitCode: 5, where: why });
  } finally {
    Date.now = now;
  }
});

Deno.test("takeWay(): one whose kubectl has ended, or whose kubeconfig is another one by now, is no way", async () => {
  await using fake = await ways();
  await using _ = keepWay(fake.cluster);
  const look = async () => {
    await using proxy = await openProxy(fake.cluster);
    assert.equal(await (await proxy.fetch(SERVICE, "/")).text(), "here");
    return (await fake.begun()).length;
  };
  assert.deepEqual([await look(), await look()], [1, 1]);
  process.kill((await fake.begun())[0]!.pid, "SIGKILL");
  await sleep(300);
  assert.deepEqual([await look(), await look()], [2, 2]);
  await writeFile(fake.kubeconfig, "{ }");
  assert.deepEqual([await look(), await look()], [3, 3]);
});

Deno.test("openSubject(): an answer is whole, whatever becomes of the way by which it came", async () => {
  // By this one the answer goes itself, as by kubectl's.
  const server = `Deno.serve({ path: Deno.args[0], onListen() {} }, () => {
    Deno.writeTextFileSync("asked", "");
    return new Response(new ReadableStream({
      async start(sink) {
        sink.enqueue(new Uint8Array(10));
        await new Promise((go) => setTimeout(go, 1000));
        sink.enqueue(new Uint8Array(90));
        sink.close();
      },
    }));
  });`;
  await using fake = await ways(`exec ${Deno.execPath()} eval '${server}' "$socket"`);
  await using subject = openSubject(fake.cluster, { when: "after", objects: () => [] });
  const asking = subject.proxy.fetch(SERVICE, "/").then((response) => response.bytes());
  asking.catch(() => {});
  {
    await using way = await takeWay(fake.cluster);
    while (!existsSync(join(fake.folder, "asked"))) await sleep(20);
    await sleep(200);
    way.drop();
  }
  assert.equal((await asking).length, 100);
});
