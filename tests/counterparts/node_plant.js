// A plant on the node-opcua stack, for tests: an OPC UA server that this project did not write.
//
//   node node_plant.js [key=value ...]
//
//   port=48400 host=127.0.0.1   where to listen
//   pki=FOLDER                  its certificates; made on first use            export=FILE  write its own certificate (DER) there
//   trust=auto|strict           accept any client certificate, or only those in pki/trusted/certs
//   none=1 anonymous=1          offer policy None; offer anonymous login
//   user=agent password=secret  the one user
//   step=100                    ms between two values of Counter               slow=3000    ms until SlowSetpoint answers
//   late=0                      s until the node Late appears                  max_items=0  limit of MonitoredItemsPerCall and NodesPerRead
//   lease=0                     ms without a beat on P1.Lease until the trim goes back to 0 by itself; 0: never
//   stamps=0                    1: each line says `at`, ms since 1970
//   csv=FILE separator=; time=datetime columns=JSON quality=COLUMN rate=1 start=auto|method
//       replays a table: columns is {"Column": "P1.Flow", "Other": {"node": "P1.Pressure", "unit": "bar", "range": [0, 10]}};
//       a row's source time is the moment of the start plus the row's distance from the first row, divided by rate; the
//       quality column holds names of status codes; an empty cell is BadNoData. Replay.Row and Replay.Done tell how far it
//       is; ask for these nodes with a sampling interval of 0 to get every row. With start=method nothing moves until the method Replay.Start is called, with start=signal until SIGUSR2 comes;
//       {"replay": "started", "ms": ...} says when that was.
//
// Prints one JSON line for each event on stdout: {"ready": endpoint}, {"write": node, "value", "type", "user", "client"} for
// every write that arrives, {"answered": node, "status"}, {"call": method, "arguments", "user"}. SIGTERM: orderly end.
"use strict";
const fs = require("fs");
const path = require("path");
const opcua = require(process.env.NODE_OPCUA || "node-opcua");
const { DataType, DataValue, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes, Variant, VariantArrayType, makeEUInformation } = opcua;

const NAMESPACE = "urn:plant";
let stamps = false;
const say = (line) => process.stdout.write(JSON.stringify(stamps ? { ...line, at: Date.now() } : line) + "\n");
const double = (value) => new Variant({ dataType: DataType.Double, value });
const EVERY = { minimumSamplingInterval: 0 }; // with a requested sampling interval of 0 every change is reported
const READ = "CurrentRead", WRITE = "CurrentRead | CurrentWrite";

function settings(args) {
  const found = { port: 48400, host: "127.0.0.1", pki: path.join(__dirname, "pki"), export: "", trust: "auto", none: 1, anonymous: 1, user: "agent",
    password: "secret", step: 100, slow: 3000, late: 0, max_items: 0, lease: 0, stamps: 0, csv: "", separator: ";", time: "datetime", columns: "{}", quality: "", rate: 1, start: "auto" };
  for (const arg of args) {
    const at = arg.indexOf("="), key = arg.slice(0, at);
    if (!(key in found)) throw new Error(`unknown setting ${arg}`);
    found[key] = typeof found[key] === "number" ? Number(arg.slice(at + 1)) : arg.slice(at + 1);
  }
  return found;
}

async function makeServer(o) {
  const manager = (folder) => new OPCUACertificateManager({ rootFolder: folder, automaticallyAcceptUnknownCertificate: o.trust === "auto" });
  const serverCertificateManager = manager(o.pki), userCertificateManager = manager(path.join(o.pki, "users"));
  await serverCertificateManager.initialize();
  await userCertificateManager.initialize();
  const policies = [SecurityPolicy.Basic256Sha256, SecurityPolicy.Aes128_Sha256_RsaOaep, SecurityPolicy.Aes256_Sha256_RsaPss];
  const modes = [MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt];
  const limit = o.max_items || 10000;
  const server = new OPCUAServer({
    host: o.host, hostname: o.host, port: o.port, serverCertificateManager, userCertificateManager,
    serverInfo: { applicationUri: "urn:edge-agent:test:node-plant", productUri: "urn:edge-agent:test", applicationName: { text: "node plant" } },
    securityPolicies: o.none ? [SecurityPolicy.None, ...policies] : policies,
    securityModes: o.none ? [MessageSecurityMode.None, ...modes] : modes,
    disableDiscovery: false,
    allowAnonymous: !!o.anonymous,
    userManager: { isValidUser: (user, password) => user === o.user && password === o.password },
    serverCapabilities: { maxSessions: 20, minSupportedSampleRate: 0, operationLimits: { maxNodesPerRead: limit, maxMonitoredItemsPerCall: limit, maxNodesPerTranslateBrowsePathsToNodeIds: limit } },
  });
  await server.initialize();
  return server;
}

// ---------------------------------------------------------------- what goes into the log

function watchRequests(server) {
  const asked = new Map();
  const who = (request) => server.getSession(request.requestHeader.authenticationToken);
  const user = (session) => (session && session.userIdentityToken && session.userIdentityToken.userName) || "anonymous";
  const client = (session) => (session && session.clientDescription && session.clientDescription.applicationName.text) || "";
  const name = (nodeId) => String(nodeId.value);
  const plain = (value) => (typeof value === "bigint" ? Number(value) : value && value.buffer ? Array.from(value) : value);
  server.on("request", (request, channel) => {
    const session = who(request);
    if (request.nodesToWrite) {
      asked.set(`${channel.channelId}/${request.requestHeader.requestHandle}`, request.nodesToWrite.map((w) => name(w.nodeId)));
      for (const w of request.nodesToWrite) {
        const stamped = Boolean(w.value.sourceTimestamp || w.value.serverTimestamp);
        say({ write: name(w.nodeId), value: plain(w.value.value.value), type: DataType[w.value.value.dataType], stamped, user: user(session), client: client(session) });
      }
    }
    for (const c of request.methodsToCall || []) {
      say({ call: name(c.methodId), arguments: (c.inputArguments || []).map((a) => plain(a.value)), types: (c.inputArguments || []).map((a) => DataType[a.dataType]), user: user(session) });
    }
  });
  server.on("response", (response, channel) => {
    const key = `${channel.channelId}/${response.responseHeader.requestHandle}`, nodes = asked.get(key);
    if (!nodes) return;
    asked.delete(key);
    nodes.forEach((node, i) => say({ answered: node, status: ((response.results || [])[i] || response.responseHeader.serviceResult).name }));
  });
}

// ---------------------------------------------------------------- nodes

function builder(ns, folder) {
  const analog = (name, unit, low, high, more) => ns.addAnalogDataItem({ componentOf: folder, browseName: name, nodeId: "s=" + name, dataType: "Double", minimumSamplingInterval: 10,
    engineeringUnitsRange: { low, high }, engineeringUnits: makeEUInformation(unit, unit, unit), accessLevel: READ, userAccessLevel: READ, ...more });
  const plain = (name, dataType, value, access = WRITE, more = {}) => ns.addVariable({ componentOf: folder, browseName: name, nodeId: "s=" + name, dataType, minimumSamplingInterval: 10,
    accessLevel: access, userAccessLevel: access, value: new Variant({ dataType: DataType[dataType], value }), ...more });
  // `set` returns a status code; what it stores is what reads back
  const setpoint = (name, unit, low, high, start, set) => {
    const held = { value: start };
    analog(name, unit, low, high, { accessLevel: WRITE, userAccessLevel: WRITE, value: {
      timestamped_get: () => new DataValue({ value: double(held.value), sourceTimestamp: new Date(), serverTimestamp: new Date() }),
      timestamped_set: async (data) => set(data.value.value, held) } });
    return held;
  };
  const argument = (name, dataType) => ({ name, description: { text: name }, dataType });
  const method = (owner, name, inputs, run) => ns.addMethod(owner, { browseName: name, nodeId: "s=" + name, inputArguments: inputs, outputArguments: [] })
    .bindMethod((args, context, done) => { Promise.resolve(run(args.map((a) => a.value))).then((status) => done(null, { statusCode: status || StatusCodes.Good, outputArguments: [] }), done); });
  return { analog, plain, setpoint, argument, method };
}

function addPump(make, o) {
  make.plain("P1.Running", "Boolean", true);
  make.plain("P1.Remote", "Boolean", true);
  make.plain("P1.Alarm", "Boolean", false);
  const lease = make.plain("P1.Lease", "UInt32", 0);
  make.setpoint("P1.SpeedBase", "rpm", 0, 3000, 1500, within(0, 3000));
  const trim = make.setpoint("P1.SpeedTrim", "rpm", -300, 300, 0, within(-300, 300));
  if (o.lease) fallBack(lease, trim, o.lease);
}

// what a PLC does with a lease: a trim stands only as long as somebody keeps counting
function fallBack(lease, trim, patience) {
  let beaten = Date.now();
  lease.on("value_changed", () => { beaten = Date.now(); });
  setInterval(() => {
    if (trim.value === 0 || Date.now() - beaten < patience) return;
    say({ fallback: "P1.SpeedTrim", from: trim.value });
    trim.value = 0;
  }, Math.max(10, patience / 10));
}

const within = (low, high) => (value, held) => {
  if (!Number.isFinite(value) || value < low || value > high) return StatusCodes.BadOutOfRange;
  held.value = value;
  return StatusCodes.Good;
};

function addOddities(make, ns, folder, o) {
  make.setpoint("ClampedSetpoint", "rpm", -1e9, 1e9, 100, (value, held) => { held.value = Math.min(value, 1000); return StatusCodes.Good; });
  make.setpoint("ClampedAloud", "rpm", -1e9, 1e9, 100, (value, held) => { held.value = Math.min(value, 1000); return StatusCodes.GoodClamped; });
  make.setpoint("StuckSetpoint", "rpm", -1e9, 1e9, 42, () => StatusCodes.Good);
  make.setpoint("SlowSetpoint", "rpm", -1e9, 1e9, 0, (value, held) => new Promise((done) => setTimeout(() => { held.value = value; done(StatusCodes.Good); }, o.slow)));
  make.plain("Count16", "Int16", 5);
  make.plain("Enable", "Boolean", false);
  make.plain("Level", "Float", 1.5);
  make.plain("Recipe", "String", "A-100");
  make.plain("ReadOnly", "Double", 7, READ);
  ns.addVariable({ componentOf: folder, browseName: "Spectrum", nodeId: "s=Spectrum", dataType: "Double", valueRank: 1, arrayDimensions: [16], minimumSamplingInterval: 10,
    value: new Variant({ dataType: DataType.Double, arrayType: VariantArrayType.Array, value: new Float64Array(16).map((_, i) => i / 2) }) });
  setTimeout(() => make.plain("Late", "Double", 1, READ), o.late * 1000);
}

function addMoving(make, folder, o) {
  let count = Math.floor((Date.now() - Date.UTC(2024, 0, 1)) / o.step) % 2 ** 32, quality = StatusCodes.Good; // goes on where it was, also after a restart
  const counter = make.plain("Counter", "UInt32", count, READ, EVERY), temperature = make.analog("Temperature", "°C", 0, 200), still = make.plain("Still", "Double", 3, READ);
  const began = Date.now();
  setInterval(() => {
    counter.setValueFromSource({ dataType: DataType.UInt32, value: ++count }, StatusCodes.Good, new Date());
    const value = 60 + 5 * Math.sin((Date.now() - began) / 5000);
    temperature.setValueFromSource(double(value), quality, new Date());
  }, o.step);
  make.method(folder, "StartPump", [make.argument("speed", DataType.Double), make.argument("tries", DataType.Int16)],
    ([speed]) => (speed < 0 || speed > 3000 ? StatusCodes.BadOutOfRange : StatusCodes.Good));
  make.method(folder, "Refuse", [], () => StatusCodes.BadUserAccessDenied);
  make.method(folder, "SetQuality", [make.argument("name", DataType.String)], ([name]) => { quality = StatusCodes[name] || StatusCodes.Good; });
  make.method(folder, "MoveStill", [make.argument("value", DataType.Double)], ([value]) => { still.setValueFromSource(double(value)); });
}

// ---------------------------------------------------------------- the replayed table

function readTable(o) {
  const [head, ...lines] = fs.readFileSync(o.csv, "utf8").split(/\r?\n/).filter((line) => line.trim());
  const names = head.split(o.separator).map((n) => n.trim());
  const clock = names.indexOf(o.time);
  const rows = lines.map((line) => line.split(o.separator).map((cell) => cell.trim()));
  const seconds = rows.map((row, i) => (clock < 0 ? i : Date.parse(row[clock].replace(" ", "T") + "Z") / 1000));
  return { names, rows, seconds };
}

function addReplay(make, folder, o) {
  const table = readTable(o), wanted = JSON.parse(o.columns), quality = table.names.indexOf(o.quality);
  const targets = Object.entries(wanted).map(([column, as]) => {
    const at = table.names.indexOf(column), { node, unit = "", range = [-1e9, 1e9] } = typeof as === "string" ? { node: as } : as;
    if (at < 0) throw new Error(`${o.csv} has no column ${column}; it has ${table.names.join(", ")}`);
    return { at, variable: make.analog(node, unit, range[0], range[1], EVERY) };
  });
  targets.forEach(({ variable }) => variable.setValueFromSource(double(0), StatusCodes.BadWaitingForInitialData));
  const row = make.plain("Replay.Row", "UInt32", 0, READ, EVERY), done = make.plain("Replay.Done", "Boolean", false, READ, EVERY);

  const emit = (i, when) => {
    const cells = table.rows[i], status = quality < 0 ? StatusCodes.Good : StatusCodes[cells[quality]] || StatusCodes.Good;
    for (const { at, variable } of targets) {
      const empty = cells[at] === "" || cells[at] === undefined;
      variable.setValueFromSource(double(empty ? 0 : Number(cells[at])), empty ? StatusCodes.BadNoData : status, when);
    }
    row.setValueFromSource({ dataType: DataType.UInt32, value: i + 1 }, StatusCodes.Good, when);
  };
  let begun = false;
  const run = () => {
    if (begun) return;
    begun = true;
    const start = Date.now();
    say({ replay: "started", ms: start });
    const due = table.seconds.map((s) => start + ((s - table.seconds[0]) / o.rate) * 1000);
    let i = 0;
    const next = () => {
      if (i < due.length && due[i] <= Date.now()) { emit(i, new Date(due[i])); i += 1; } // one row a turn, so that every row can be sampled
      if (i < due.length) setTimeout(next, Math.max(1, due[i] - Date.now()));
      else done.setValueFromSource({ dataType: DataType.Boolean, value: true });
    };
    next();
  };
  make.method(folder, "Replay.Start", [], run);
  if (o.start === "auto") run();
  if (o.start === "signal") process.on("SIGUSR2", run);
}

// ---------------------------------------------------------------- main

async function main() {
  const o = settings(process.argv.slice(2));
  stamps = !!o.stamps;
  const server = await makeServer(o);
  const space = server.engine.addressSpace, ns = space.registerNamespace(NAMESPACE);
  const folder = ns.addObject({ browseName: "Plant", organizedBy: space.rootFolder.objects, nodeId: "s=Plant" });
  const make = builder(ns, folder);
  addPump(make, o);
  addOddities(make, ns, folder, o);
  addMoving(make, folder, o);
  if (o.csv) addReplay(make, folder, o);
  watchRequests(server);
  await server.start();
  if (o.export) fs.writeFileSync(o.export, server.getCertificate());
  say({ ready: `opc.tcp://${o.host}:${o.port}` });
  const end = async () => { await server.shutdown(100); process.exit(0); };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
}

main().catch((error) => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
