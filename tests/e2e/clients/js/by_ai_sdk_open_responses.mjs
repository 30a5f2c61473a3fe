import { createOpenResponses } from "@ai-sdk/open-responses";

import { scenarios } from "./ai_sdk.mjs";

export const { plain, streamed, tools, abort, timeout } = scenarios(({ base_url, api_key, model }) =>
  createOpenResponses({ name: "gateway", url: `${base_url}/responses`, apiKey: api_key })(model),
);
