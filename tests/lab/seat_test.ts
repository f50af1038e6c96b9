// The ways in: the machine's loopback leads to the nodes' doors, `lab exec` to the operator's seat. On a network
// of the test's own, in which a web server has the address of a node.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";

const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;
const NAME = `test${process.pid}`;
const SERVER = `
const words = "x".repeat(300_000);
const answer = (request) => new Response(request.headers.get("host") + words);
Deno.serve({ hostname: "192.168.101.196", port: 30080, onListen() {} }, answer);`;

Deno.test(
  "the doors lead from the machine's loopback to the nodes, the seat has the site's settings",
  {
    ignore: !isRoot,
    sanitizeResources: false,
  },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "seat-"));
    const env = { ...process.env, LAB_NAME: NAME, LAB_HOME: folder, LAB_DOORS: "127.0.113" };
    const sh = $({ quiet: true, env, cwd: projectPath("."), stdio: ["ignore", "pipe", "pipe"] });
    const running = [];
    try {
      const away = await sh({ nothrow: true })`tests/lab/lab exec -- true`;
      assert.deepEqual([away.exitCode, /is down: `make lab`/.test(away.stderr)], [3, true]);

      for (
        const [words, told] of [
          ["lab-exec CMD=", /CMD= is missing: make lab-exec CMD='make verify'/],
          ["lab-cut CLUSTER=", /cut: which node\? One of 196, 197, 198/],
          ["lab-restart CLUSTER=199", /restart: which node\?/],
        ] as const
      ) {
        const { exitCode, stderr } = await sh({ nothrow: true })`make ${words.split(" ")}`;
        assert.deepEqual([exitCode, told.test(stderr)], [2, true], `${words}: ${stderr}`);
      }
      for (const words of [["exec"], ["exec", "--"], ["node", "197"]]) {
        const { exitCode, stderr } = await sh({ nothrow: true })`tests/lab/lab ${words}`;
        assert.deepEqual([exitCode, /no command/.test(stderr)], [2, true], `${words}: ${stderr}`);
      }

      await mkdir(join(folder, "run/seat"), { recursive: true });
      await writeFile(join(folder, "run/seat/hosts"), "192.168.101.196 mkube-196\n");
      await writeFile(join(folder, "run/seat/resolv.conf"), "nameserver 192.168.101.1\n");
      await mkdir(join(folder, "run/registry"));
      const upstream = { STAND_INS: "index-management", INGRESS: "nginx" };
      await writeFile(join(folder, "run/registry/settings.json"), JSON.stringify(upstream));
      await sh`ip netns add ${NAME}-operator`;
      const inside = ["netns", "exec", `${NAME}-operator`];
      await sh`ip ${inside} ip link set lo up`;
      await sh`ip ${inside} ip addr add 192.168.101.196/32 dev lo`;
      await writeFile(join(folder, "server.ts"), SERVER);
      const run = ["scripts/deno", "run", "--no-config", "--allow-net"];
      running.push(sh({ nothrow: true })`exec ip ${inside} ${run} ${join(folder, "server.ts")}`);
      running.push(sh({ nothrow: true })`exec tests/lab/lab _doors`);

      const ask = ["--silent", "--max-time", "5", "--retry", "20", "--retry-all-errors"];
      const named = ["--retry-delay", "1", "--header", "host: thanos.mkube-196.miribit.lab"];
      const page = await sh`curl ${ask} ${named} http://127.0.113.196:30080/`;
      assert.match(page.stdout, /^thanos\.mkube-196\.miribit\.labx{300000}$/);

      const seen =
        await sh`INGRESS=traefik tests/lab/lab exec -- sh -c 'env; cat /etc/hosts; stat -Lc %i /proc/self/ns/net "$LAB_SEAT"'`;
      for (
        const part of [
          `KUBECONFIG=${folder}/run/kubeconfig`,
          `SECRET_FILE=${folder}/secret.env`,
          `S3_CA_FILE=${folder}/run/s3/ca.crt`,
          "PROFILE=tests/lab/site.env",
          // Of images that are upstream's; what is typed has the say.
          "STAND_INS=index-management",
          "INGRESS=traefik",
          "E2E_EMPTY_BUCKET=yes",
          "192.168.101.196 mkube-196",
        ]
      ) assert.ok(seen.stdout.split("\n").includes(part), part);
      for (const hook of ["CUT", "HEAL", "RESTART", "RENEW", "S3_STOP", "S3_START"]) {
        assert.match(seen.stdout, new RegExp(`^E2E_${hook}=/.*/tests/lab/lab \\S+`, "m"));
      }
      const [own, seat] = seen.stdout.trim().split("\n").slice(-2);
      assert.equal(own, seat);
    } finally {
      for (const one of running) await one.kill("SIGKILL");
      await sh({ nothrow: true })`ip netns del ${NAME}-operator`;
      await rm(folder, { recursive: true, force: true });
    }
  },
);
