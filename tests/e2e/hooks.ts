// What needs hands on the machines of the site is done by commands from the environment, `{id}`
// standing for a cluster's. The laboratory gives all of them; a drill whose command is not given is ignored.
//   E2E_CUT, E2E_HEAL           pull and plug the network cable of a node
//   E2E_RESTART                 power cut and boot of a node
//   E2E_RENEW                   forget all clusters and boot new ones in their place
//   E2E_S3_STOP, E2E_S3_START   stop and start the S3 server
//   E2E_REGISTRY                a registry (HOST[:PORT][/PATH]) that has every image, as IMAGE_REGISTRY wants it
//   E2E_EMPTY_BUCKET=yes        the bucket of metrics may be emptied
import process from "node:process";
import { $ } from "zx";

/** Where this machine takes notifications; always the same, for another would be a change of every Alertmanager. */
export const WEBHOOK_PORT = Number(process.env.E2E_WEBHOOK_PORT ?? 39099);

/** The command of a hook; empty when there is none. */
export const hook = (name: string) => process.env[name] ?? "";

/** Runs the command of a hook; for a drill that was not ignored it is there. */
export async function run(name: string, id = ""): Promise<void> {
  await $({ quiet: true })`bash -c ${hook(name).replaceAll("{id}", id)}`;
}
