// SPDX-License-Identifier: Apache-2.0
#include "src/policy/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include "src/base/text.h"

namespace cgwarden::policy {
namespace {

constexpr std::size_t kMaxNodes = 20'000;
constexpr std::size_t kMaxDepth = 16;

Mark mark_of(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// Thrown by the event handler: yaml-cpp has no other way to stop parsing.
struct ParseError {
  Mark mark;
  std::string what;
};

class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  YamlNode take() { return std::move(top_); }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add({YamlNode::Kind::null, mark_of(mark), {}, {}, {}}, "", anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    throw ParseError{mark_of(mark), "YAML: aliases are unsupported (write the value out)"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    add({YamlNode::Kind::scalar, mark_of(mark), value, {}, {}}, tag, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open({YamlNode::Kind::list, mark_of(mark), {}, {}, {}}, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open({YamlNode::Kind::map, mark_of(mark), {}, {}, {}}, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  // A map or list that is still being filled; it moves into its parent when it is complete.
  struct Open {
    YamlNode node;
    std::set<std::string> seen;
    bool dropped = false;  // the current key is a duplicate: drop its value
  };

  void open(YamlNode node, const std::string& tag, YAML::anchor_t anchor) {
    check(node, tag, anchor);
    if (open_.size() >= kMaxDepth)
      throw ParseError{node.mark, "YAML: nested more than " + std::to_string(kMaxDepth) + " levels deep"};
    if (expects_key()) throw ParseError{node.mark, "YAML: map keys must be scalars"};
    open_.push_back({std::move(node), {}});
  }
  void close() {
    auto done = std::move(open_.back().node);
    open_.pop_back();
    put(std::move(done));
  }
  void add(YamlNode node, const std::string& tag, YAML::anchor_t anchor) {
    check(node, tag, anchor);
    if (!expects_key()) return put(std::move(node));
    if (node.kind != YamlNode::Kind::scalar) throw ParseError{node.mark, "YAML: map keys must be scalars"};
    auto& map = open_.back();
    map.dropped = !map.seen.insert(node.text).second;
    if (map.dropped) {
      if (problems_.size() >= kMaxProblems)
        throw ParseError{node.mark, "policy file: more than " + std::to_string(kMaxProblems) + " errors"};
      problems_.push_back({file_, node.mark, "key '" + node.text + "': duplicate"});
    }
    map.node.keys.push_back(std::move(node));
  }
  void put(YamlNode node) {
    if (open_.empty()) {
      top_ = std::move(node);
      return;
    }
    auto& parent = open_.back();
    if (std::exchange(parent.dropped, false)) {
      parent.node.keys.pop_back();
      return;
    }
    parent.node.items.push_back(std::move(node));
  }
  [[nodiscard]] bool expects_key() const {
    return !open_.empty() && open_.back().node.kind == YamlNode::Kind::map &&
           open_.back().node.keys.size() == open_.back().node.items.size();
  }
  void check(const YamlNode& node, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) throw ParseError{node.mark, "YAML: anchors are unsupported (write the value out)"};
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw ParseError{node.mark, "YAML: tag '" + tag + "' is unsupported"};
    }
    if (++nodes_ > kMaxNodes) throw ParseError{node.mark, "YAML: more than " + std::to_string(kMaxNodes) + " values"};
  }

  const std::string& file_;
  Problems& problems_;
  YamlNode top_;
  std::vector<Open> open_;
  std::size_t nodes_ = 0;
};

// Position of the first control character other than tab, newline and carriage return.
std::optional<Mark> control_character_mark(std::string_view text) {
  Mark mark;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t' && c != '\r') || byte == 0x7f) return mark;
    ++mark.column;
    if (c == '\n') mark = {mark.line + 1, 1};
  }
  return std::nullopt;
}

}  // namespace

std::string Problem::text() const {
  return base::printable(file) + ':' + std::to_string(mark.line) + ':' + std::to_string(mark.column) + ": " +
         base::printable(what);
}

std::optional<YamlNode> parse_document(const std::string& file, std::string_view text, Problems& problems) {
  const auto refuse = [&](Mark mark, std::string what) {
    problems.push_back({file, mark, std::move(what)});
    return std::nullopt;
  };
  if (text.size() > kMaxFileBytes) {
    return refuse({}, "file: larger than " + std::to_string(kMaxFileBytes / 1024) + " KiB");
  }
  if (!base::is_utf8(text)) return refuse({}, "file: not valid UTF-8");
  if (const auto at = control_character_mark(text)) return refuse(*at, "file: control character");

  std::istringstream stream{std::string(text)};
  Builder builder(file, problems);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    Builder second(file, problems);
    if (parser) {
      if (parser.HandleNextDocument(second))
        return refuse({}, "YAML: more than one document (a policy file holds one)");
    }
  } catch (const ParseError& error) {
    return refuse(error.mark, error.what);
  } catch (const YAML::Exception& error) {
    return refuse(mark_of(error.mark), "YAML: syntax error: " + error.msg);
  }
  return builder.take();
}

}  // namespace cgwarden::policy
