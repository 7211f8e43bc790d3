// A lending library as its authors would write it with Express; it knows nothing of CCOS.
// express-openapi-validator refuses what does not fit the description, with 4xx.

import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const express = require("express");
const validator = require("express-openapi-validator");

const json = (schema) => ({ content: { "application/json": { schema } } });
const ok = (schema) => ({ 200: { description: "Well.", ...json(schema) } });
const any = { type: "object", additionalProperties: true };

const apiSpec = {
  openapi: "3.0.3",
  info: { title: "Lending Library", version: "4.0.1" },
  servers: [{ url: "/api" }],
  components: {
    securitySchemes: { card: { type: "http", scheme: "basic" } },
    schemas: {
      Book: {
        type: "object",
        required: ["title", "year"],
        additionalProperties: false,
        properties: {
          id: { type: "integer", readOnly: true },
          title: { type: "string", minLength: 1, maxLength: 60 },
          year: { type: "integer", minimum: 1450, maximum: 2100 },
          subject: { type: "string", nullable: true },
          editions: { type: "array", maxItems: 2, items: { $ref: "#/components/schemas/Book" } },
        },
      },
    },
  },
  paths: {
    "/books": {
      get: {
        operationId: "findBooks",
        parameters: [
          { name: "year", in: "query", schema: { type: "integer", minimum: 1450 } },
          { name: "sort", in: "query", schema: { type: "string", enum: ["title", "year"] } },
          {
            name: "tags", in: "query", style: "pipeDelimited", explode: false,
            schema: { type: "array", items: { type: "string", pattern: "^[a-z]+$" } },
          },
          {
            name: "filter", in: "query", style: "deepObject", explode: true,
            schema: { type: "object", properties: { shelf: { type: "string" } } },
          },
          { name: "X-Reader", in: "header", required: true, schema: { type: "integer" } },
        ],
        responses: ok(any),
      },
      post: {
        operationId: "addBook",
        security: [{ card: [] }],
        requestBody: { required: true, ...json({ $ref: "#/components/schemas/Book" }) },
        responses: ok(any),
      },
    },
    "/books/{id}/pages/{range}": {
      get: {
        operationId: "readPages",
        parameters: [
          { name: "id", in: "path", required: true, schema: { type: "integer", minimum: 1 } },
          {
            name: "range", in: "path", required: true,
            schema: { type: "array", minItems: 2, maxItems: 2, items: { type: "integer" } },
          },
        ],
        responses: ok(any),
      },
    },
    "/letters": {
      post: {
        operationId: "sendLetter",
        requestBody: {
          required: true,
          content: {
            "application/x-www-form-urlencoded": {
              schema: {
                type: "object",
                required: ["to", "copies"],
                properties: { to: { type: "string" }, copies: { type: "string", pattern: "^[1-9]$" } },
              },
            },
          },
        },
        responses: ok(any),
      },
    },
    "/notes": {
      put: {
        operationId: "leaveNote",
        requestBody: { required: true, content: { "text/plain": { schema: { type: "string" } } } },
        responses: ok(any),
      },
    },
  },
};

const app = express();
app.use(express.json(), express.urlencoded({ extended: true }), express.text());
app.get("/openapi.json", (_, answer) => answer.json(apiSpec));
app.use(validator.middleware({ apiSpec, validateResponses: false, ignorePaths: /openapi/ }));
const echo = (asked, answer) =>
  answer.json({ params: asked.params, query: asked.query, body: asked.body ?? null });
app.get("/api/books", echo);
app.post("/api/books", echo);
app.get("/api/books/:id/pages/:range", echo);
app.post("/api/letters", echo);
app.put("/api/notes", echo);
app.use((error, _, answer, __) =>
  answer.status(error.status ?? 500).json({ message: error.message, errors: error.errors }),
);
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
