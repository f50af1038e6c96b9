// The end-to-end suite in its order. It deploys, so it needs a site; `make e2e` runs it.
// One after the other: plain imports of modules that wait would register their tests in any order.
for (
  const part of [
    "deploy",
    "preflight",
    "ingress",
    "network",
    "s3",
    "metrics",
    "logs",
    "lifecycle",
    "history",
    "alerts",
    "dashboards",
    "scale",
    "fleet",
    "closing",
  ]
) {
  await import(`./${part}_test.ts`);
}
