// Faults A1 to A14 of the configuration, by their ids: what is told, and with which exit code.
import assert from "node:assert/strict";
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chooseClusters, secretsOf } from "../../../lib/config/cluster.ts";
import { text } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { settingLines } from "../../../scripts/operate/config.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import {
  FIXTURES,
  fleetWith,
  project,
  SECRET_ENV,
  wording,
} from "../../support/project_fixture.ts";

Deno.test("A1: everything missing is told at once, with the file and the example", async () => {
  await using place = await project({
    "common.env": null,
    "secret.env": null,
    "cluster-197.env": "CLUSTER_ID=197\nCLUSTER_ROLE=edge\n",
  });
  const error = await place.refusal();
  assert.equal(error.exitCode, 2);
  assert.equal(error.message, "Cannot load the clusters of env: 8 problems");
  for (
    const [file, name] of [
      ["env/cluster-197.env", "CLUSTER_NAME"],
      ["env/cluster-197.env", "KUBE_CONTEXT"],
      ["env/cluster-197.env", "NODE_IP"],
      ["env/cluster-197.env", "DOMAIN"],
      ["env/common.env", "S3_ENDPOINT"],
      ["env/secret.env", "S3_ACCESS_KEY"],
      ["env/secret.env", "S3_SECRET_KEY"],
      ["env/secret.env", "UI_BASIC_AUTH"],
    ]
  ) assert.ok(error.where.some((line) => line.startsWith(`${file}  ${name} is missing: `)), name);
  assert.match(error.fix!, /env\/secret\.env\.example env\/secret\.env/);
});

Deno.test("A2: an unknown name is told with its line and the nearest known one", async () => {
  await using place = await project({
    "common.env": "S3_ENDPOINT=https://s3\n\nPROMETEUS_RETENTION=6h\nQQQQQQQQ=1\n",
  });
  assert.deepEqual((await place.refusal()).where, [
    "env/common.env:3  PROMETEUS_RETENTION is not a known name: did you mean PROMETHEUS_RETENTION?",
    "env/common.env:4  QQQQQQQQ is not a known name",
  ]);
});

Deno.test("A3: a name set twice in one file is refused", async () => {
  await using place = await project({
    "common.env": "S3_ENDPOINT=https://a\nS3_ENDPOINT=https://b",
  });
  assert.match(
    wording(await place.refusal()),
    /common.env:2 {2}S3_ENDPOINT is set twice: first in line 1/,
  );
});

Deno.test("A4: a broken line in the file of secrets is told without its text", async () => {
  await using place = await project({ "secret.env": `${SECRET_ENV}hush-hush\nHÜSH=hush\n` });
  const error = await place.refusal();
  assert.match(wording(error), /secret.env:5 .*[^]*secret.env:6 /);
  assert.doesNotMatch(wording(error), /hush/i);
});

Deno.test("A5: a wrong value is told with its rule and an example, a wrong secret without it", async () => {
  await using place = await project({
    "common.env": "S3_ENDPOINT=https://s3\nSIDECAR_NODE_PORT=30901x\n",
    "secret.env": `${SECRET_ENV.replace("hush-grafana", "hush")}`,
  });
  const { where } = await place.refusal();
  assert.deepEqual(where, [
    'env/common.env:2  SIDECAR_NODE_PORT is "30901x": expected a whole number from 30000 to 32767, such as 30901',
    "env/secret.env:3  GRAFANA_ADMIN_PASSWORD (not shown): expected at least 6 characters",
  ]);
});

Deno.test("P10: an endpoint that may hang as long as the Ruler pauses is a warning", async () => {
  const warnings = async (line: string) => {
    await using place = await project({ "common.env": `S3_ENDPOINT=https://s3\n${line}\n` });
    const [cluster] = await place.load();
    return cluster!.warnings.filter((warning) => warning.includes("QUERY_RESPONSE_TIMEOUT"));
  };
  assert.deepEqual(await warnings("QUERY_RESPONSE_TIMEOUT=29s"), []);
  const [slow, ...others] = await warnings("QUERY_RESPONSE_TIMEOUT=30s");
  assert.match(slow!, /common.env:2 .*SCRAPE_INTERVAL is 30s: one cluster that hangs/);
  assert.deepEqual(others, []);
  assert.equal((await warnings("QUERY_TIMEOUT=20s")).length, 1);
});

Deno.test("A6: local retention below 6h, the published password and no way for alerts are warnings", async () => {
  await using place = await project({
    "common.env": "S3_ENDPOINT=https://s3\nPROMETHEUS_RETENTION=5h\n",
    "secret.env": SECRET_ENV.replace("hush-grafana", "prom-operator"),
  });
  const [cluster] = await place.load();
  assert.equal(cluster!.warnings.length, 4);
  assert.match(cluster!.warnings[0]!, /common.env:2 {2}PROMETHEUS_RETENTION is 5h: .*6h or more/);
  assert.match(
    cluster!.warnings[2]!,
    /secret.env:3 {2}GRAFANA_ADMIN_PASSWORD: the default is public/,
  );
  assert.match(cluster!.warnings[3]!, /ALERT_WEBHOOK_URL: alerts are sent nowhere/);
});

Deno.test("U2: ingress-nginx, the default, is one warning for all clusters, and another controller none", async () => {
  const about = async (line: string) => {
    await using place = await project({ "common.env": `S3_ENDPOINT=https://s3\n${line}\n` });
    const clusters = await place.load();
    assert.ok(clusters.length > 1);
    return [...new Set(clusters.flatMap(({ warnings }) => warnings))]
      .filter((warning) => /ingress/i.test(warning));
  };
  const [told, ...more] = await about("");
  assert.match(told!, /^default {2}INGRESS is nginx: .*no fixes any more; INGRESS=traefik/);
  assert.deepEqual(more, []);
  assert.match((await about("INGRESS=nginx"))[0]!, /^env\/common\.env:2 {2}INGRESS is nginx/);
  assert.deepEqual(await about("INGRESS=traefik"), []);
  assert.deepEqual(await about("INGRESS=existing"), []);
});

Deno.test("COMPACTOR_CONCURRENCY beyond the cores of the Compactor is a warning", async () => {
  const told = async (limit: string) => {
    const lines = `S3_ENDPOINT=https://s3\nCOMPACTOR_CONCURRENCY=2\nCOMPACTOR_CPU_LIMIT=${limit}\n`;
    await using place = await project({ "common.env": lines });
    return (await place.load())[0]!.warnings.filter((line) => /COMPACTOR_CONC/.test(line)).length;
  };
  assert.deepEqual([await told("1"), await told("2")], [1, 0]);
});

Deno.test("U2: a Traefik with known holes is a warning, and with ADMIN_CIDR one before 3.7 is refused", async () => {
  const load = async (tag: string, networks: string) => {
    const image = tag && `TRAEFIK_IMAGE=r.example:5000/t/traefik:${tag}\n`;
    await using place = await project({
      "common.env": `S3_ENDPOINT=https://s3\nINGRESS=traefik\nADMIN_CIDR=${networks}\n${image}`,
    });
    return (await place.load())[0]!.warnings.filter((line) => /known holes/.test(line)).length;
  };
  const digest = (digits: string) => `@sha256:${digits.repeat(64).slice(0, 64)}`;
  const old = ["v2.11.53", "v3.6.24", `v3.6.2${digest("41")}`];
  const holes = [...old, "v3.7.0", "v3.7.9", "v3.7.10", `v3.7.9${digest("9")}`];
  const mended = ["", "3.7", "v3.7.11", "v3.8.0", "v3.10.1", "v3.70.1", "v4.0", "v10.0.0"]
    .concat(`v3.7.13${digest("1f")}`, `v3.7.13${digest("2a")}`);
  for (const tag of holes) assert.equal(await load(tag, "0.0.0.0/0"), 1, tag);
  for (const tag of mended) assert.equal(await load(tag, "10.0.0.0/8"), 0, tag);
  for (const tag of [...old, "latest"]) {
    await load(tag, "10.0.0.0/8,0.0.0.0/0");
    await assert.rejects(load(tag, "10.0.0.0/8"), ({ where }) => /before 3\.7/.test(where.join()));
  }
});

Deno.test("A7: what must be unique in the fleet is told with both files and the reason", async () => {
  const twin = await readFile(join(FIXTURES, "fleet/cluster-197.env"), "utf8");
  await using place = await project({ "cluster-198.env": twin });
  const message = wording(await place.refusal());
  for (const name of ["CLUSTER_ID", "CLUSTER_NAME", "KUBE_CONTEXT", "DOMAIN", "NODE_IP"]) {
    const line = new RegExp(
      `cluster-198.env:\\d {2}${name} is ".*", as in env/cluster-197.env:\\d`,
    );
    assert.match(message, line);
  }
  assert.match(message, /corrupt their blocks/);
});

Deno.test("A8: CRLF, BOM and trailing blanks leave no trace in values", async () => {
  const files = Object.fromEntries(
    await Promise.all(["common", "cluster-196", "cluster-197", "cluster-198"].map(async (name) => {
      const text = await readFile(join(FIXTURES, "fleet", `${name}.env`), "utf8");
      return [`${name}.env`, "\uFEFF" + text.replaceAll("\n", " \t\r\n")];
    })),
  );
  await using plain = await project();
  await using odd = await project({ ...files, "secret.env": SECRET_ENV.replaceAll("\n", "\r\n") });
  assert.deepEqual(await odd.load(), await plain.load());
});

Deno.test("A9: secrets with every kind of character arrive unchanged and are masked", async () => {
  const nasty = "'\"$\\n# 비밀🔑 end";
  await using place = await project({
    "secret.env": `${SECRET_ENV.replace(/S3_SECRET_KEY=.*/, "S3_SECRET_KEY=`" + nasty + "`")}`,
  });
  const [cluster] = await place.load();
  assert.equal(text(cluster!, "S3_SECRET_KEY"), nasty);
  assert.deepEqual(
    secretsOf(cluster!).sort(),
    [nasty, "admin:$apr1$hushhush$CoI/oaMSX7kDo0L4/VfNe1", "hush-grafana"].concat(
      "$apr1$hushhush$CoI/oaMSX7kDo0L4/VfNe1",
    )
      .sort(),
  );
});

Deno.test("A10: a value that YAML would retype stays text", async () => {
  for (const value of ["no", "0123", "1e3", "null", "2026-11-22"]) {
    const edge = await readFile(join(FIXTURES, "fleet/cluster-197.env"), "utf8");
    await using place = await project({
      "cluster-197.env": edge.replace("mkube-197\n", `${value}\n`),
    });
    assert.equal((await place.load())[1]!.vars.KUBE_CONTEXT, value);
  }
});

Deno.test("A11: the environment wins, is named as the source, and empty means missing", async () => {
  await using place = await project();
  const [cluster] = await place.load({
    S3_REGION: "eu-1",
    PATH: "/bin",
    S3_SECRET_KEY: "hush-other",
  });
  assert.equal(cluster!.vars.S3_REGION, "eu-1");
  const lines = settingLines(cluster!);
  assert.ok(lines.includes("S3_REGION=eu-1  # environment"));
  assert.ok(lines.includes("S3_SECRET_KEY=***  # environment"));
  assert.ok(lines.includes("S3_ENDPOINT=https://172.20.40.21:30001  # env/common.env:1"));
  assert.ok(lines.includes("HTTP_NODE_PORT=30080  # default"));
  assert.ok(lines.includes("S3_BASE_PATH=cluster-196  # computed"));
  assert.doesNotMatch(lines.join("\n"), /hush/);
  assert.deepEqual((await place.refusal({ S3_ENDPOINT: "", GRAFANA_ADMIN_PASSWORD: "" })).where, [
    "environment  S3_ENDPOINT is empty, and empty means missing: External S3 as a URL; https, path style",
    "environment  GRAFANA_ADMIN_PASSWORD is empty, and empty means missing",
  ]);
});

Deno.test("A11, E17: what tells clusters apart is not taken from the environment", async () => {
  await using place = await project();
  const { exitCode, where } = await place.refusal({
    DOMAIN: "x.lab",
    REGION: "us-east-1",
    API_HOST: "127.0.0.1",
  });
  assert.equal(exitCode, 2);
  assert.deepEqual(where.map((line) => line.split(" ").slice(0, 3)), [
    ["environment", "", "REGION"],
    ["environment", "", "API_HOST"],
    ["environment", "", "DOMAIN"],
  ]);
});

Deno.test("A12: a folder or a symlink loop in place of a file is refused", async () => {
  await using place = await project({ "secret.env": null, "common.env": null });
  await mkdir(join(place.root, "env/secret.env"));
  await symlink("common.env", join(place.root, "env/common.env"));
  const error = await place.refusal();
  assert.equal(error.exitCode, 2);
  assert.match(wording(error), /env\/secret.env {2}is a directory: expected a file/);
  assert.match(wording(error), /env\/common.env {2}cannot be read: ELOOP/);
});

Deno.test("A12: a file that is not UTF-8 is refused", async () => {
  await using place = await project();
  await writeFile(join(place.root, "env/common.env"), Uint8Array.of(0x41, 0x3d, 0xff, 0xfe));
  assert.match(wording(await place.refusal()), /env\/common.env {2}is not UTF-8 text/);
});

Deno.test("A12: secrets that others can read are a warning with the fix", async () => {
  await using place = await project();
  await chmod(join(place.root, "env/secret.env"), 0o644);
  const [cluster] = await place.load();
  assert.match(cluster!.warnings[0]!, /env\/secret.env {2}mode 0644 .*chmod 600 env\/secret.env/);
});

Deno.test("A12: secrets that git tracks are refused with exit 4", async () => {
  await using place = await project();
  await git(place.root, "init", "--quiet");
  await place.load();
  await git(place.root, "add", "--force", "env/secret.env");
  const error = await place.refusal();
  assert.equal(error.exitCode, 4);
  assert.match(wording(error), /git tracks[^]*git rm --cached env\/secret.env/);
  assert.doesNotMatch(wording(error), /hush/i);
});

Deno.test({
  name: "E20: secrets that git tracks are refused also where git doubts the owner of the folder",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    await using place = await project();
    await git(place.root, "init", "--quiet");
    await git(place.root, "add", "--force", "env/secret.env");
    await Deno.chown(place.root, 12345, 12345);
    await Deno.chown(`${place.root}/.git`, 12345, 12345);
    assert.match(wording(await place.refusal()), /git tracks/);
  },
});

async function git(cwd: string, ...args: string[]): Promise<void> {
  const env = { PATH: Deno.env.get("PATH") ?? "", HOME: cwd };
  const { success } = await new Deno.Command("git", { args, cwd, clearEnv: true, env }).output();
  assert.ok(success, args.join(" "));
}

Deno.test("A14: an unknown cluster is refused with the known ones", async () => {
  const fleet = await fixtureFleet();
  assert.deepEqual(chooseClusters(fleet, ["198", "196", "198"]).map(({ id }) => id), [
    "198",
    "196",
  ]);
  for (const words of [["199"], ["197", "199"], ["all", "199"], ["pilot"], []]) {
    assert.throws(() => chooseClusters(fleet, words), (error) => {
      assert.ok(error instanceof DeployError);
      assert.equal(error.exitCode, 2);
      assert.match(wording(error), /known clusters: 196, 197, 198/);
      return true;
    });
  }
});

Deno.test("chooseClusters() takes ids, groups, edges and all, each cluster once, and names the groups there are", async () => {
  const fleet = await fleetWith({ "197": "GROUPS=pilot", "198": 'GROUPS="seoul pilot"' });
  const chosen = (...words: string[]) => chooseClusters(fleet, words).map(({ id }) => id).join();
  assert.equal(chosen("pilot"), "197,198");
  assert.equal(chosen("seoul"), "198");
  assert.equal(chosen("edges"), "197,198");
  assert.equal(chosen("all"), "196,197,198");
  assert.equal(chosen("seoul", "196", "pilot"), "198,196,197");
  assert.throws(() => chooseClusters(fleet, ["pilto", "197"]), (error) => {
    assert.ok(error instanceof DeployError);
    assert.match(wording(error), /Cannot find pilto: [^]*known groups: pilot, seoul/);
    return error.exitCode === 2;
  });
});

Deno.test("a setting that there once was is a warning with its line, in whatever file", async () => {
  await using site = await project({
    "common.env": "S3_ENDPOINT=https://s3.test:9000\nSSH_USER=kim\n",
  });
  const fleet = await site.load();
  for (const { warnings, vars } of fleet) {
    assert.match(
      warnings.join("\n"),
      /env\/common\.env:2 {2}SSH_USER is used no longer: remove it/,
    );
    assert.ok(!("SSH_USER" in vars));
  }
});
