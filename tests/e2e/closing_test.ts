// The site as its settings want it again, and what was measured.
import { check, closeAll, make, printFigures } from "./site.ts";

check("the site is left as its settings want it, and verified", async () => {
  Deno.env.delete("ALERT_WEBHOOK_URL");
  await make(["all"]);
});

check("figures", async () => {
  await closeAll();
  printFigures();
});
