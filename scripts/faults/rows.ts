// The faults and bad inputs that the deployer must survive, with the exit code that each ends in.

/** One row: tests of it have the id before their name (`A24: ...`). */
export interface Fault {
  id: string;
  fault: string;
  /** `never` for what may not happen at all. */
  exit: string;
}

export const FAULTS: Fault[] = [
  // Config
  { id: "A1", fault: "required setting missing", exit: "2" },
  { id: "A2", fault: "unknown setting (typo)", exit: "2" },
  { id: "A3", fault: "setting given twice in one file", exit: "2" },
  { id: "A4", fault: "malformed line, unclosed quote", exit: "2" },
  { id: "A5", fault: "value of the wrong type", exit: "2" },
  { id: "A6", fault: "value out of range, or against another one", exit: "2 or warn" },
  { id: "A7", fault: "name, label, address or S3 path of another cluster", exit: "2" },
  { id: "A8", fault: "CRLF, BOM, trailing blanks", exit: "0" },
  { id: "A9", fault: "secret with any character", exit: "0 or 2" },
  { id: "A10", fault: "value that YAML would retype", exit: "0" },
  { id: "A11", fault: "environment overrides a file; empty value", exit: "0 or 2" },
  { id: "V9", fault: "command that needs no secret, without any", exit: "0" },
  { id: "E15", fault: "value with $ typed on make's command line", exit: "0" },
  { id: "X3", fault: "value in the environment that a shell would run", exit: "0 or 2" },
  { id: "A12", fault: "env file unreadable, open to others, tracked by git", exit: "2, warn or 4" },
  { id: "A13", fault: "another locale", exit: "0" },
  { id: "A14", fault: "unknown cluster or flag", exit: "2" },
  // Host
  { id: "A15", fault: "no kubectl on PATH", exit: "3" },
  { id: "A16", fault: "kubectl too old, or too far from the server", exit: "3 or warn" },
  { id: "A17", fault: "no bash on PATH", exit: "3" },
  { id: "A18", fault: "read-only or full disk, no TMPDIR", exit: "0 or 3" },
  { id: "E19", fault: "no HOME, relative or unwritable cache folder", exit: "0 or 3" },
  { id: "A19", fault: "reader of the output goes away", exit: "its own" },
  { id: "A20", fault: "no terminal, CI", exit: "4" },
  { id: "A21", fault: "Deno permission missing", exit: "3" },
  // Target
  { id: "A22", fault: "current context is another cluster", exit: "0" },
  { id: "A23", fault: "context or kubeconfig missing", exit: "4" },
  { id: "V5", fault: "error in one row of preflight, slow pod", exit: "its own, or 0" },
  { id: "A24", fault: "context leads to another server address", exit: "4" },
  { id: "A25", fault: "another cluster at the right address", exit: "4" },
  { id: "A26", fault: "env file of one cluster, cluster of another", exit: "4" },
  { id: "A27", fault: "role changed on a deployed cluster", exit: "4" },
  { id: "A28", fault: "client certificate expired or not yet valid", exit: "5" },
  { id: "A29", fault: "certificate of an unknown authority or host", exit: "5" },
  { id: "A30", fault: "not logged in, or without the right", exit: "5" },
  { id: "A31", fault: "API server does not answer", exit: "5" },
  // Apply
  { id: "A32", fault: "API server restarts during an apply", exit: "0 or 5" },
  { id: "A33", fault: "API server asks to slow down", exit: "0" },
  { id: "A34", fault: "field of another manager", exit: "6" },
  { id: "A35", fault: "object was applied client-side before", exit: "0" },
  { id: "A36", fault: "field that cannot change", exit: "6" },
  { id: "A37", fault: "env name or container port twice", exit: "2" },
  { id: "A38", fault: "CRD not established yet", exit: "0 or 7" },
  { id: "A39", fault: "CRD too large for an annotation", exit: "0" },
  { id: "A40", fault: "namespace is terminating", exit: "6" },
  { id: "A41", fault: "admission webhook not up yet", exit: "0 or 7" },
  { id: "A42", fault: "webhook of an old install, nobody behind it", exit: "6" },
  { id: "A43", fault: "earlier run stopped half way", exit: "0" },
  { id: "A44", fault: "Ctrl-C once", exit: "130" },
  { id: "A45", fault: "Ctrl-C twice; SIGTERM", exit: "130 / 143" },
  { id: "A46", fault: "SIGKILL, power loss", exit: "0 on the next run" },
  { id: "A47", fault: "two operators at once", exit: "10" },
  { id: "A48", fault: "quota or limit range refuses", exit: "6 or 7" },
  { id: "A49", fault: "image cannot be pulled", exit: "7" },
  { id: "A50", fault: "claim without a volume", exit: "7" },
  { id: "A51", fault: "pod crashes again and again", exit: "7" },
  { id: "A52", fault: "NodePort in use", exit: "4 or 6" },
  { id: "A53", fault: "two default StorageClasses", exit: "0" },
  { id: "A54", fault: "no open-iscsi on the node", exit: "3 or 7" },
  { id: "A55", fault: "kernel limits of the node too low", exit: "3 or warn" },
  { id: "A56", fault: "node too small", exit: "3" },
  { id: "V1", fault: "edge that nobody has deployed yet, target not scraped yet", exit: "0" },
  { id: "A57", fault: "wait for what does not exist yet", exit: "0 or 7" },
  { id: "A58", fault: "kubectl hangs", exit: "5" },
  { id: "A59", fault: "object that is no longer wanted", exit: "0" },
  // S3 and APIs
  { id: "A60", fault: "S3 does not answer", exit: "8" },
  { id: "A61", fault: "S3 does not know the key", exit: "8" },
  { id: "A62", fault: "bucket is there, ours or not", exit: "0 or 8" },
  { id: "A63", fault: "clock too far from that of the S3", exit: "8" },
  { id: "A64", fault: "certificate of the S3 not trusted", exit: "8" },
  { id: "A65", fault: "a right on the bucket missing, quota, full disk", exit: "8" },
  { id: "A66", fault: "S3 well from here, not from the cluster", exit: "8" },
  { id: "A67", fault: "OpenSearch refuses a document for a moment", exit: "0 or 8" },
  // Upstream files
  { id: "A68", fault: "bundle truncated or edited", exit: "9" },
  { id: "X4", fault: "parsed copy of a bundle edited in the cache", exit: "0" },
  { id: "A69", fault: "download offline or of something else", exit: "9" },
  { id: "A70", fault: "malformed or hostile YAML", exit: "2" },
  { id: "A71", fault: "target of a patch is gone upstream", exit: "2" },
  // Output
  { id: "A72", fault: "a secret in any output", exit: "never" },
  { id: "X6", fault: "PLAN= names a file that is no plan", exit: "4" },
];
