// SPDX-License-Identifier: Apache-2.0
// Draws a dashboard with the panel components of Grafana itself (@grafana/ui): same units, thresholds, overrides,
// transformations and legends. The page reads /dashboard.json and queries the Prometheus behind /prometheus.
import React, {useEffect, useState} from 'react';
import {createRoot} from 'react-dom/client';
import {
  applyFieldOverrides, createTheme, DataFrame, DataTransformerConfig, dateTime, Field, FieldColorModeId, FieldType,
  fieldReducers, getDisplayValueAlignmentFactors, getFieldDisplayValues, InterpolateFunction, LoadingState, ReduceDataOptions,
  standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame,
  transformDataFrame, TimeRange,
} from '@grafana/data';
import 'uplot/dist/uPlot.min.css';
import {BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, GlobalStyles,
        PanelChrome, Table, TimeSeries} from '@grafana/ui';
import {lastValueFrom} from 'rxjs';

const theme = createTheme({colors: {mode: 'dark'}});
// Grafana registers these in its application, which is in no package: here without editors.
const property = (path: string, isCustom = false) => ({id: isCustom ? `custom.${path}` : path, path, name: path, isCustom, settings: {}, editor: () => null, override: () => null,
  process: (value: unknown) => value, shouldApply: () => true});
standardFieldConfigEditorRegistry.setInit(() => [
  ...['unit', 'decimals', 'displayName', 'min', 'max', 'thresholds', 'mappings', 'noValue', 'links', 'color'].map((id) => property(id)),
  ...['lineWidth', 'fillOpacity', 'drawStyle', 'lineStyle', 'stacking', 'axisPlacement', 'transform', 'width', 'align', 'cellOptions', 'hidden',
      'displayMode', 'hideFrom', 'fillBelowTo', 'showPoints', 'pointSize', 'lineInterpolation', 'axisLabel', 'filterable'].map((id) => property(id, true)),
] as any);
standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((t: any) => [t.id, t])).values()].map((t: any) => ({id: t.id, name: t.name, transformation: t, editor: () => null})) as any);

const query = new URLSearchParams(location.search);
const end = Number(query.get('end')), seconds = Number(query.get('seconds')), rows = Number(query.get('rows'));
const step = 5;
const range: TimeRange = {
  from: dateTime((end - seconds) * 1000), to: dateTime(end * 1000),
  raw: {from: dateTime((end - seconds) * 1000), to: dateTime(end * 1000)},
};
let variables: Record<string, string> = {};
const fill: InterpolateFunction = (text) => (text ?? '').replace(/\$(?:\{(\w+)(?::\w+)?\}|(\w+)|__\w+)/g, (whole, a, b) => {
  const name = a ?? b ?? whole.slice(1);
  return variables[name] ?? whole;
});

async function get(path: string) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function legend(format: string | undefined, labels: Record<string, string>, expr: string) {
  if (format && format !== '__auto') return fill(format).replace(/\{\{\s*(\w+)\s*\}\}/g, (_, l) => labels[l] ?? '');
  const {__name__, ...rest} = labels;
  return Object.keys(rest).length ? `${__name__ ?? ''}{${Object.entries(rest).map(([k, v]) => `${k}="${v}"`).join(', ')}}` : expr;
}

async function frames(target: any): Promise<DataFrame[]> {
  const expr = fill(target.expr);
  const number = (v: string) => v === '+Inf' ? Infinity : v === '-Inf' ? -Infinity : Number(v);
  if (target.instant) {
    const {data} = await get(`/prometheus/api/v1/query?query=${encodeURIComponent(expr)}&time=${end}`);
    const names = [...new Set<string>(data.result.flatMap((s: any) => Object.keys(s.metric)))].filter((n) => n !== '__name__').sort();
    return [toDataFrame({refId: target.refId, fields: [
      {name: 'Time', type: FieldType.time, values: data.result.map(() => end * 1000)},
      ...names.map((name) => ({name, type: FieldType.string, values: data.result.map((s: any) => s.metric[name] ?? '')})),
      {name: `Value #${target.refId}`, type: FieldType.number, values: data.result.map((s: any) => number(s.value[1]))},
    ]})];
  }
  const {data} = await get(`/prometheus/api/v1/query_range?query=${encodeURIComponent(expr)}&start=${end - seconds}&end=${end}&step=${step}`);
  return data.result.map((s: any) => {
    const at = new Map<number, number>(s.values.map(([t, v]: [number, string]) => [t, number(v)]));
    const times = Array.from({length: seconds / step + 1}, (_, i) => end - seconds + i * step);
    return toDataFrame({refId: target.refId, name: legend(target.legendFormat, s.metric, expr), fields: [
      {name: 'Time', type: FieldType.time, values: times.map((t) => t * 1000)},
      {name: 'Value', type: FieldType.number, labels: s.metric, values: times.map((t) => at.get(t) ?? null),
       config: {displayNameFromDS: legend(target.legendFormat, s.metric, expr)}},
    ]});
  });
}

async function load(panel: any): Promise<DataFrame[]> {
  const raw = (await Promise.all(panel.targets.map(frames))).flat();
  const moved = await lastValueFrom(transformDataFrame((panel.transformations ?? []) as DataTransformerConfig[], raw, {interpolate: fill} as any));
  return applyFieldOverrides({
    data: moved, fieldConfig: panel.fieldConfig, theme, timeZone: 'utc', replaceVariables: fill,
    fieldConfigRegistry: standardFieldConfigEditorRegistry as any,
  });
}

function Body({panel, data, width, height}: {panel: any; data: DataFrame[]; width: number; height: number}) {
  if (panel.type === 'timeseries') {
    const custom = panel.fieldConfig.defaults.custom ?? {};
    for (const frame of data) for (const field of frame.fields) {
      if (field.type !== FieldType.number) continue;
      field.config.custom = {drawStyle: 'line', lineWidth: 1, fillOpacity: 0, showPoints: 'never', axisPlacement: 'auto', ...custom, ...field.config.custom};
      field.config.color ??= {mode: FieldColorModeId.PaletteClassic};
    }
    const l = panel.options.legend ?? {};
    return <TimeSeries frames={data} width={width} height={height} timeRange={range} timeZone="utc"
      legend={{displayMode: l.displayMode ?? 'list', placement: l.placement ?? 'bottom', calcs: l.calcs ?? [], showLegend: l.showLegend ?? true} as any} />;
  }
  if (panel.type === 'table') return <Table data={data[0]} width={width} height={height} />;
  const values = getFieldDisplayValues({
    data, fieldConfig: panel.fieldConfig, theme, timeZone: 'utc', replaceVariables: fill,
    reduceOptions: panel.options.reduceOptions as ReduceDataOptions, sparkline: panel.options.graphMode === 'area',
  });
  return <div style={{display: 'flex', width, height}}>{values.map((v, i) =>
    <BigValue key={i} width={width / values.length} height={height} theme={theme} value={v.display} sparkline={v.sparkline}
      colorMode={panel.options.colorMode ?? BigValueColorMode.Value} graphMode={panel.options.graphMode ?? BigValueGraphMode.None}
      justifyMode={panel.options.justifyMode ?? BigValueJustifyMode.Auto} textMode={panel.options.textMode ?? BigValueTextMode.Auto}
      alignmentFactors={getDisplayValueAlignmentFactors(values)} />)}</div>;
}

function Panel({panel}: {panel: any}) {
  const [data, setData] = useState<DataFrame[] | string | null>(null);
  const {x, y, w, h} = panel.gridPos;
  const cell = 1520 / 24;
  const place = {position: 'absolute' as const, left: 8 + x * cell, top: 8 + y * 38, width: w * cell - 8, height: h * 38 - 8};
  useEffect(() => { if (panel.targets) load(panel).then(setData, (e) => setData(String(e))); }, []);
  useEffect(() => { if (data !== null) document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1); }, [data]);
  if (panel.type === 'row') return <h6 style={{...place, paddingTop: 6}}>{fill(panel.title)}</h6>;
  return <div style={place}>
    <PanelChrome title={fill(panel.title ?? '')} width={place.width} height={place.height} loadingState={LoadingState.Done}>
      {(width, height) => data === null ? <></> : typeof data === 'string' ? <b>{data}</b> :
        data.length === 0 ? <i>No data</i> : <Body panel={panel} data={data} width={width} height={height} />}
    </PanelChrome>
  </div>;
}

async function main() {
  const dashboard = await get('/dashboard.json');
  variables = {__rate_interval: '20s', __range: `${seconds}s`, __interval: `${step}s`, ...Object.fromEntries([...query].filter(([k]) => k.startsWith('var-')).map(([k, v]) => [k.slice(4), v]))};
  for (const v of dashboard.templating.list) variables[v.name] ??= v.current?.value ?? '.*';
  const panels = dashboard.panels.filter((p: any) => p.gridPos.y + p.gridPos.h <= rows);
  document.body.dataset.panels = String(panels.filter((p: any) => p.targets).length);
  document.body.style.cssText = `background:${theme.colors.background.canvas};color:${theme.colors.text.primary};font:14px Inter,sans-serif;margin:0`;
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <h4 style={{margin: '10px 16px', height: 24}}>{dashboard.title} — {variables.instance}</h4>
      <div style={{position: 'relative', height: rows * 38 + 16}}>{panels.map((p: any) => <Panel key={p.id} panel={p} />)}</div>
    </ThemeContext.Provider>);
}
main();
