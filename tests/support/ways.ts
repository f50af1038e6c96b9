// A kubectl that gives ways to a server of ours.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { fixtureCluster } from "./cluster_fixture.ts";

/** A kubectl whose proxies all lead to one server (`answer` to a path); `script` comes first in each of them. */
export async function ways(
  script = "",
  answer: (path: string) => Response = () => new Response("here"),
) {
  const folder = await mkdtemp(join(tmpdir(), "ways-")), path = join(folder, "s");
  const kubeconfig = join(folder, "kubeconfig");
  await writeFile(kubeconfig, "{}");
  const server = Deno.serve(
    { path, onListen() {} },
    ({ url }) => answer(url.replace(/^[^/]*\/\/[^/]*/, "")),
  );
  const text = `#!/bin/bash
    cd ${folder}; socket=\${!#}; socket=\${socket#*=}
    echo "$$ $socket" >>begun
    ${script}
    ln -s ${path} "$socket"; exec sleep 60`;
  await writeFile(join(folder, "kubectl"), text, { mode: 0o700 });
  useKubectl(join(folder, "kubectl"));
  const begun = async () => {
    const lines = await readFile(join(folder, "begun"), "utf8").catch(() => "");
    return lines.trim().split("\n").filter(Boolean).map((line) => {
      const [pid, socket] = line.split(" ");
      return { pid: Number(pid), place: dirname(socket!) };
    });
  };
  return {
    folder,
    kubeconfig,
    begun,
    cluster: await fixtureCluster("196", { KUBECONFIG_FILE: kubeconfig }),
    async [Symbol.asyncDispose]() {
      const places = (await begun()).map(({ place }) => place);
      for (let tries = 0; tries < 60 && places.some(existsSync); tries++) await sleep(50);
      assert.deepEqual(places.filter(existsSync), []);
      await server.shutdown();
      await rm(folder, { recursive: true });
    },
  };
}
