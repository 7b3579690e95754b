// SPDX-License-Identifier: Apache-2.0
// Serves the page that draws a dashboard, and a proxy to Prometheus, on loopback.
//
//   serve.mjs DASHBOARD PROMETHEUS_URL PORT
import {readFileSync} from 'node:fs';
import {createServer, request} from 'node:http';

const [dashboard, prometheus, port] = process.argv.slice(2);
const here = (name) => readFileSync(new URL(name, import.meta.url));
const page = '<!doctype html><meta charset=utf-8><link rel=stylesheet href=/draw.css><div id=root></div><script src=/draw.js></script>';
const files = {
  '/': ['text/html', page],
  '/draw.js': ['text/javascript', here('draw.js')],
  '/draw.css': ['text/css', here('draw.css')],
  '/dashboard.json': ['application/json', readFileSync(dashboard)],
};
createServer((incoming, outgoing) => {
  const file = files[incoming.url.split('?')[0]];
  if (file) {
    outgoing.writeHead(200, {'content-type': file[0]}).end(file[1]);
  } else if (incoming.url.startsWith('/prometheus/')) {
    request(prometheus + incoming.url.slice('/prometheus'.length), (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    }).on('error', (error) => outgoing.writeHead(502).end(String(error))).end();
  } else {
    outgoing.writeHead(404).end();
  }
}).listen(Number(port), '127.0.0.1');
