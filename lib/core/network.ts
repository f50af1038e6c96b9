// Networks in CIDR notation.
import { BlockList } from "node:net";

/** Whether networks leave nobody out. */
export function isEverywhere(networks: string[]): boolean {
  return networks.some((network) => network.endsWith("/0"));
}

/** Whether an IPv4 address is in one of these networks. */
export function isWithin(address: string, networks: string[]): boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [base, bits] = network.split("/");
    list.addSubnet(base!, Number(bits));
  }
  return list.check(address);
}
