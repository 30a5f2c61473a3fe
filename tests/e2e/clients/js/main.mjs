// Does with a client what its standard input says: the counterpart of drivers/__main__.py, with the same commands.

import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let reply;
  try {
    const client = await import(`./${command.client}.mjs`);
    reply = await client[command.scenario](command);
  } catch (error) {
    reply = { error: error.name, message: error.message };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}
