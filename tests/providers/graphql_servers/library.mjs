// A library that lends books, served by graphql-yoga (queries, mutations, server-sent events) and
// by graphql-ws (subscriptions over WebSocket). Arguments: a port, and whether it opens WebSockets.
import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";
import { WebSocketServer } from "ws";
import { useServer } from "graphql-ws/use/ws";

const typeDefs = `
  scalar JSON
  enum Genre { FICTION FACT }
  interface Named { name: String! }
  type Author implements Named { name: String! born: Int books: [Book!]! }
  type Robot implements Named { name: String! born: String! serial: ID! }
  union Maker = Author | Robot
  type Book {
    id: ID!
    title: String!
    genre: Genre!
    maker: Maker!
    author: Named!
    broken: String
    excerpt(words: Int!): String
  }
  input Place { x: Float! y: Float! = 0.5 labels: [String!] inner: Place }
  input Key @oneOf { id: ID title: String }
  type Query {
    "One book"
    book(id: ID!): Book
    books(genre: Genre = FICTION): [Book!]!
    echo(place: Place!, genres: [[Genre!]], extra: JSON, flag: Boolean): JSON!
    find(key: Key!): Book
    whoami: String
    fails: String!
  }
  type Mutation {
    addBook(title: String!, genre: Genre!): Book!
    deleteBook(id: ID!): Boolean!
  }
  type Subscription {
    countdown(from: Int!): Int!
    endless: Int!
    refused: Int!
    caller: String
  }
`;

const ann = { __typename: "Author", name: "Ann", born: 1970 };
const bot = { __typename: "Robot", name: "Bot", born: "yesterday", serial: "R2" };
const books = [
  { id: "1", title: "One", genre: "FICTION", maker: ann, author: ann },
  { id: "2", title: "Two", genre: "FACT", maker: bot, author: bot },
];
ann.books = [books[0]];

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const caller = (context) =>
  context.request?.headers.get("authorization") ??
  context.connectionParams?.Authorization ??
  null;

const resolvers = {
  Query: {
    book: (_, { id }) => books.find((book) => book.id === id) ?? null,
    books: (_, { genre }) => books.filter((book) => !genre || book.genre === genre),
    echo: (_, given) => given,
    find: (_, { key }) =>
      books.find((book) => (key.id ? book.id === key.id : book.title === key.title)) ?? null,
    whoami: (_, __, context) => caller(context),
    fails: () => {
      throw new Error("this always fails");
    },
  },
  Book: {
    broken: () => {
      throw new Error("the page is torn");
    },
  },
  Mutation: {
    addBook: (_, { title, genre }) => {
      const book = { id: String(books.length + 1), title, genre, maker: ann, author: ann };
      books.push(book);
      return book;
    },
    deleteBook: (_, { id }) => {
      const index = books.findIndex((book) => book.id === id);
      if (index >= 0) books.splice(index, 1);
      return index >= 0;
    },
  },
  Subscription: {
    countdown: {
      subscribe: async function* (_, { from }) {
        for (let left = from; left >= 0; left--) yield { countdown: left };
      },
    },
    endless: {
      subscribe: async function* () {
        for (let number = 0; ; number++) {
          yield { endless: number };
          await pause(10);
        }
      },
    },
    refused: {
      subscribe: () => {
        throw new Error("nobody may listen");
      },
    },
    caller: {
      subscribe: async function* (_, __, context) {
        yield { caller: caller(context) };
      },
    },
  },
};

const schema = createSchema({ typeDefs, resolvers });
const [port, sockets] = [Number(process.argv[2]), process.argv[3] === "sockets"];
const server = createServer(createYoga({ schema, maskedErrors: false, logging: false }));
if (sockets) {
  const socketServer = new WebSocketServer({ server, path: "/graphql" });
  useServer({ schema, context: ({ connectionParams }) => ({ connectionParams }) }, socketServer);
}
server.listen(port, "127.0.0.1");
