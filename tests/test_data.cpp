// SPDX-License-Identifier: Apache-2.0
// The only file that is compiled with the path of the source tree, so that a compiler cache can share the objects of
// all other tests between checkouts.
#include "tests/test_data.h"

namespace cgwarden::test {

std::filesystem::path test_data() { return CGWARDEN_TEST_DATA; }

}  // namespace cgwarden::test
