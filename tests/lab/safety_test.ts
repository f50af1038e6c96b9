// What the suite and its drills touch: the laboratory only, unless another site is named where they are typed.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parse } from "yaml";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { guard } from "../e2e/guard.ts";
import { fixtureFleet } from "../support/cluster_fixture.ts";
import { fakeKubectl } from "../support/fake_kubectl.ts";

const SEAT = { LAB_SEAT: "/proc/self/ns/net" };
const KUBECONFIG = { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" };
const MARKED = "configmap/laboratory\n";

Deno.test("guard() takes clusters with the mark, at the laboratory's seat", async () => {
  const fleet = await fixtureFleet(KUBECONFIG);
  const calls = await fakeKubectl([{ on: "get configmap laboratory", stdout: MARKED }]);
  await guard(fleet, SEAT);
  assert.equal((await calls()).length, fleet.length);
});

Deno.test("guard() refuses a cluster without the mark, even at the seat", async () => {
  await fakeKubectl([{ on: "mkube-197" }, { on: "get configmap laboratory", stdout: MARKED }]);
  await assert.rejects(guard(await fixtureFleet(KUBECONFIG), SEAT), {
    exitCode: 4,
    where: ["197 does not carry the laboratory's mark: no laboratory"],
  });
});

Deno.test("guard() asks no cluster away from the seat; SITE must be the region of all", async () => {
  const fleet = await fixtureFleet();
  const calls = await fakeKubectl([]);
  await assert.rejects(guard(fleet, {}), { exitCode: 4 });
  await assert.rejects(guard(fleet, { LAB_SEAT: "/no/such/namespace" }), { exitCode: 4 });
  await assert.rejects(guard(fleet, { SITE: "elsewhere" }), { exitCode: 4 });
  await guard(fleet, { SITE: "miribit-lab" });
  assert.deepEqual(await calls(), []);
});

Deno.test("the mark is what the laboratory puts into its clusters", async () => {
  const text = await readFile(projectPath("tests/lab/conf/addons/mark.yaml"), "utf8");
  assert.deepEqual(parse(text).metadata, { name: "laboratory", namespace: "kube-system" });
});

/** A command in a network with a cable to the site's addresses and nobody at its end, which counts what is sent. */
const SCRIPT = `
ip link set lo up
ip link add site type veth peer name nobody
for end in site nobody; do
  [ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6
  ip link set $end up
done
ip addr add 192.168.101.5/24 dev site
ip addr add 172.20.40.5/24 dev site
"$@" >&2
code=$?
ip -json -statistics link show site
exit $code`;

const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test(
  "with the laboratory down, nothing that is typed sends a packet to the site's addresses",
  {
    ignore: !isRoot,
  },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "no-lab-"));
    const kubeconfig = join(folder, "kubeconfig");
    const ids = ["196", "197", "198"];
    await writeFile(
      kubeconfig,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: ids.map((id) => ({
          name: id,
          cluster: { server: `https://192.168.101.${id}:8443` },
        })),
        contexts: ids.map((id) => ({ name: `mkube-${id}`, context: { cluster: id, user: "" } })),
      }),
    );
    const secrets = join(folder, "secret.env");
    await writeFile(
      secrets,
      "S3_ACCESS_KEY=nobody\nS3_SECRET_KEY=no-secret\nUI_BASIC_AUTH='admin:$apr1$hushhush$CoI/oaMSX7kDo0L4/VfNe1'\n",
      {
        mode: 0o600,
      },
    );
    const environment = {
      ...process.env,
      KUBECONFIG: kubeconfig,
      SECRET_FILE: secrets,
      LAB_NAME: "absent",
      LAB_HOME: folder,
      // All that may be left over in a shell.
      PROFILE: "tests/lab/site.env",
      SITE: "miribit-lab",
      LAB_SEAT: "/run/netns/absent-operator",
    };
    async function typed(...words: string[]) {
      const options = { quiet: true, nothrow: true, cwd: projectPath("."), env: environment };
      const result = await $(options)`unshare --net sh -c ${SCRIPT} site ${words}`;
      const [{ stats64 }] = JSON.parse(result.stdout);
      return { packets: stats64.tx.packets, output: result.stderr };
    }
    try {
      const knock = await typed("timeout", "1", "bash", "-c", "</dev/tcp/192.168.101.196/8443");
      assert.ok(knock.packets > 0, "the interface counts nothing");
      for (const target of ["e2e", "e2e-faults"]) {
        const { packets, output } = await typed("make", target);
        assert.equal(packets, 0, output);
        assert.match(output, /laboratory is down: `make lab`[^]*exit code 3/);
      }
      const other = await typed("make", "e2e", "SITE=elsewhere");
      assert.deepEqual([other.packets, /exit code 4/.test(other.output)], [0, true], other.output);
      const test = "scripts/deno test --frozen --no-prompt --no-check --allow-all".split(" ");
      delete (environment as Record<string, string | undefined>).SITE;
      const direct = await typed("timeout", "60", ...test, "tests/e2e/suite.ts");
      assert.equal(direct.packets, 0, direct.output);
      assert.match(direct.output, /Refused: what this would break/);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
