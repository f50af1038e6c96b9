// make bootstrap: the script for a host, run with stand-ins for every command that would change one.
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { DeployError } from "../../lib/core/error.ts";
import { Report } from "../../lib/io/report.ts";
import { bootstrap, hostScript } from "../../scripts/operate/bootstrap.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";

const LONGHORN = await fixtureCluster("196", { CONTROL_PLANE_METRICS: "true" });
const EXISTING = await fixtureCluster("197", { STORAGE: "existing", STORAGE_CLASS: "standard" });

Deno.test("hostScript() has the values of the cluster on top and is good bash", async () => {
  const script = await hostScript(LONGHORN);
  for (const line of ["NODE_IP='192.168.101.196'", "KUBE_CONTEXT='mkube-196'", "LONGHORN='true'"]) {
    assert.ok(script.includes(`\n${line}\n`), line);
  }
  assert.match(script, /API_NAME='api\.mkube-196\.miribit\.lab'/);
  assert.match(script, /KUBERNETES_VERSION='v1\.35\.1'/);
  await $({ quiet: true, input: script })`bash -n`;
  const named = await fixtureCluster("196", { API_HOST: "k8s.example.org" });
  assert.match(await hostScript(named), /API_NAME='k8s\.example\.org'/);
});

/** A folder in the place of a host's file system, with stand-ins that note how they were called. */
async function host(cluster = LONGHORN) {
  const root = await mkdtemp(join(tmpdir(), "bootstrap-"));
  const bin = join(root, "bin");
  for (const folder of ["bin", "proc", "opt/cni/bin", "etc", "usr/local/bin"]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await writeFile(join(root, "proc/swaps"), "Filename\n/swap.img file 1 0 -2\n");
  await writeFile(
    join(root, "etc/fstab"),
    "UUID=1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n",
  );
  const stub = async (name: string, body = "") => {
    const text = `#!/bin/bash\necho "${name} $*" >>${root}/log\n${body}\n`;
    await writeFile(join(bin, name), text);
    await chmod(join(bin, name), 0o755);
  };
  const kubectl = `${root}/var/lib/minikube/binaries/v1.35.1/kubectl`;
  await stub("id", "echo 0");
  await stub(
    "ip",
    `[ "$2" = route ] && echo "192.0.2.1 via x src 192.168.101.${cluster.id}" ||
    echo "2: eth0 inet 192.168.101.${cluster.id}/24 brd x"`,
  );
  await stub("dpkg", `[ -e ${root}/installed ]`);
  await stub(
    "apt-get",
    `case "$*" in
    *open-iscsi*|*conntrack*) touch ${root}/installed;;
    *kubernetes-cni*) touch ${root}/opt/cni/bin/bridge; chmod 755 ${root}/opt/cni/bin/bridge
      cp ${bin}/modprobe ${bin}/crictl;;
    *chrony*) touch ${root}/synced;;
  esac`,
  );
  await stub("timedatectl", `[ -e ${root}/synced ] && echo yes || echo no`);
  await stub("swapoff", `echo Filename >${root}/proc/swaps`);
  await stub("containerd", "echo version = 3");
  await stub("multipathd");
  await stub("multipath");
  await stub(
    "curl",
    `while [ $# -gt 0 ]; do [ "$1" = -o ] && echo program >"$2"; shift; done
    echo program | sha256sum | cut -d" " -f1`,
  );
  for (const name of ["systemctl", "modprobe", "sysctl"]) await stub(name);
  // It comes with curl, and starts a cluster that brings its own kubectl.
  await stub(
    "mv",
    `/bin/mv "$@"; case "$2" in */minikube) cp ${bin}/.minikube ${bin}/minikube;; esac`,
  );
  await stub(
    ".minikube",
    `echo "minikube $*" >>${root}/log; case "$1" in
    status) [ -e ${root}/started ];;
    start) touch ${root}/started; mkdir -p $(dirname ${kubectl}) ${root}/etc/kubernetes
      printf '#!/bin/bash\\necho "$*" >>"$KUBECONFIG"' >${kubectl}; chmod 755 ${kubectl};;
  esac`,
  );
  return {
    root,
    /** Runs the script on it; its output, and what it started (what only looks is left out). */
    async run() {
      const real = await hostScript(cluster);
      const script = real.replaceAll(
        /(?<![\w/.])\/(etc|proc|var|opt|usr\/local)\//g,
        `${root}/$1/`,
      );
      await writeFile(join(root, "log"), "");
      const env = { PATH: `${bin}:/usr/bin:/bin` };
      const result = await $({ quiet: true, nothrow: true, input: script, env })`bash -s`;
      const log = (await readFile(join(root, "log"), "utf8")).replaceAll(root, "").split("\n");
      const looks =
        /^(id|ip|dpkg|timedatectl|multipath|mv|\.minikube|minikube status|curl .*(key|sha256)|sysctl|modprobe) ?/;
      return {
        code: result.exitCode,
        output: result.stdout + result.stderr,
        started: log.filter((line) => line && !looks.test(line)),
      };
    },
    file: (path: string) => readFile(join(root, path), "utf8"),
    stub,
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
}

Deno.test("the script makes a bare host one for Longhorn, and run again changes nothing", async () => {
  await using machine = await host();
  const first = await machine.run();
  assert.equal(first.code, 0, first.output);
  const all = first.started.join("\n");
  assert.match(all, /apt-get install .*conntrack .*containerd open-iscsi nfs-common/);
  assert.match(all, /apt-get install .*cri-tools kubernetes-cni/);
  assert.match(all, /systemctl enable --now iscsid/);
  assert.match(all, /systemctl enable kubelet/);
  assert.match(
    all,
    /minikube start --driver=none --container-runtime=containerd --kubernetes-version=v1\.35\.1 --apiserver-ips=192\.168\.101\.196 --apiserver-name=api\.mkube-196\.miribit\.lab --embed-certs .*--extra-config=scheduler.bind-address=0\.0\.0\.0 .*etcd\.listen-metrics-urls=http:\/\/0\.0\.0\.0:2381/,
  );
  assert.match(all, /addons disable default-storageclass\n.*addons disable storage-provisioner/);
  assert.match(await machine.file("etc/modules-load.d/kubernetes.conf"), /\niscsi_tcp\n$/);
  assert.match(await machine.file("etc/sysctl.d/90-kubernetes.conf"), /max_map_count = 262144/);
  assert.match(await machine.file("etc/multipath/conf.d/longhorn.conf"), /devnode "\^sd/);
  assert.match(await machine.file("etc/fstab"), /^# \/swap\.img/m);
  const kubeconfig = await machine.file("etc/kubernetes/mkube-196.kubeconfig");
  assert.match(kubeconfig, /set-cluster mkube-196 --server=https:\/\/192\.168\.101\.196:8443/);
  assert.match(kubeconfig, /use-context mkube-196$/m);

  const again = await machine.run();
  assert.equal(again.code, 0, again.output);
  assert.deepEqual(again.started, [
    "systemctl enable --now iscsid",
    "systemctl enable --now containerd",
    "systemctl enable kubelet",
    "minikube addons disable default-storageclass",
    "minikube addons disable storage-provisioner",
  ]);
  assert.doesNotMatch(again.output, /wrote|installing/);
});

Deno.test("the script copies etcd before it starts a cluster that has stopped", async () => {
  await using machine = await host();
  await machine.run();
  await mkdir(join(machine.root, "var/lib/minikube/etcd/member"), { recursive: true });
  await rm(join(machine.root, "started"));
  const { output, started } = await machine.run();
  assert.match(output, /copied etcd to \S+minikube-etcd-\d{8}-\d{6}\.tar\.gz/);
  assert.ok(started.some((line) => line.startsWith("minikube start")));
});

Deno.test("without Longhorn there is no iSCSI, and Minikube keeps its class where it is wanted", async () => {
  await using machine = await host(EXISTING);
  const { code, output, started } = await machine.run();
  assert.equal(code, 0, output);
  assert.doesNotMatch(started.join("\n"), /iscsi|addons|extra-config/);
  assert.doesNotMatch(await machine.file("etc/modules-load.d/kubernetes.conf"), /iscsi/);
});

Deno.test("the script gives up on another host before it changes anything", async () => {
  await using machine = await host();
  await machine.stub("ip", "echo 2: eth0 inet 10.0.0.7/24");
  const { code, output, started } = await machine.run();
  assert.equal(code, 1);
  assert.match(output, /NODE_IP 192\.168\.101\.196 is no address of this host: .*10\.0\.0\.7/);
  assert.deepEqual(started, []);
});

Deno.test("the script refuses a damaged minikube", async () => {
  await using machine = await host();
  await machine.stub("curl", `[ "$3" = -o ] && echo program >"$4"; echo 0000`);
  const { code, output } = await machine.run();
  assert.equal(code, 1);
  assert.match(output, /a damaged minikube/);
});

/** A seat whose ssh notes its arguments and input in the folder, and then does `body`. */
async function seat(body: string) {
  const folder = await mkdtemp(join(tmpdir(), "seat-"));
  const before = process.env.PATH!;
  await mkdir(join(folder, "bin"));
  const script = `#!/bin/bash\necho "$*" >>${folder}/args\ncat >>${folder}/stdin\n${body}\n`;
  await writeFile(join(folder, "bin/ssh"), script, { mode: 0o755 });
  process.env.PATH = `${join(folder, "bin")}:${before}`;
  const said: string[] = [];
  return {
    folder,
    said,
    report: new Report("", (line) => said.push(line)),
    read: (name: string) => readFile(join(folder, name), "utf8"),
    async [Symbol.asyncDispose]() {
      process.env.PATH = before;
      await rm(folder, { recursive: true });
    },
  };
}

const SSH = 'case "$*" in *bash*) echo "== one"; echo two >&2;; *cat*) echo "kind: Config";; esac';

Deno.test("bootstrap() runs the script over ssh, tells its lines and keeps the kubeconfig", async () => {
  await using desk = await seat(SSH);
  const file = await bootstrap(LONGHORN, desk.report, desk.folder);
  assert.equal(file, join(desk.folder, "kubeconfig-196"));
  assert.equal(await desk.read("kubeconfig-196"), "kind: Config\n");
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const target = "-o ConnectTimeout=10 root@192.168.101.196";
  const remote = "/etc/kubernetes/mkube-196.kubeconfig";
  assert.equal(await desk.read("args"), `${target} bash -s\n${target} cat ${remote}\n`);
  assert.equal(await desk.read("stdin"), await hostScript(LONGHORN));
  const all = desk.said.join("");
  assert.match(all, / {2}== one\n/);
  assert.match(all, / {2}two\n/);
  assert.match(all, /KUBECONFIG_FILE=env\/kubeconfig-196 in env\/cluster-196\.env/);
  assert.doesNotMatch(all, /kind: Config/);

  // Another cluster is there now: the old file is kept.
  await writeFile(file, "old\n");
  await bootstrap(LONGHORN, desk.report, desk.folder);
  assert.equal(await desk.read("kubeconfig-196.before"), "old\n");
});

Deno.test("bootstrap() becomes root by sudo for another SSH_USER", async () => {
  await using desk = await seat(SSH);
  const cluster = await fixtureCluster("196", { SSH_USER: "ubuntu" });
  await bootstrap(cluster, desk.report, desk.folder);
  assert.match(await desk.read("args"), /ubuntu@192\.168\.101\.196 sudo -n -H bash -s\n/);
});

Deno.test("bootstrap() tells a host that cannot be reached (5) from a script that gives up (3)", async () => {
  for (
    const [code, exitCode, told] of [[255, 5, /log in to root@/], [1, 3, /ended with 1/]] as const
  ) {
    await using desk = await seat(`echo "cannot go on: because" >&2; exit ${code}`);
    const error = await bootstrap(LONGHORN, desk.report, desk.folder).catch((error) => error);
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, exitCode);
    assert.match([error.message, ...error.where].join("\n"), told);
    assert.match(desk.said.join(""), /cannot go on: because/);
  }
});
