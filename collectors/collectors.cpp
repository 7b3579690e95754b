// SPDX-License-Identifier: Apache-2.0
#include "collectors/collectors.h"

namespace cgwarden::collectors {

std::span<const Collector> all() {
  static const Collector kAll[] = {
      {cgroup_core()},
      {cpu()},
      {percpu()},
      {memory()},
      {memory_local()},
      {memory_numa()},
      {kmem()},
      {io()},
      {io_bfq()},
      {pids()},
      {pressure()},
      {cpuset()},
      {cpuset_pressure()},
      {hugetlb()},
      {hugetlb_numa()},
      {rdma()},
      {misc()},
      {dmem()},
      {freezer()},
      {net()},
      {devices()},
      {device_rules()},
      {local()},
      effective(),
      namespaces(),
      io_devices(),
      network(),
      processes(),
      process_states(),
      process_files(),
      removed(),
      tcp(),
      perf_event(),
      bpf(),
  };
  return kAll;
}

}  // namespace cgwarden::collectors
