// stagformer._engine: the C++ library for Python. What is convenient is in the package's Python files.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stagformer/engine.hpp>
#include <stagformer/error.hpp>
#include <string>
#include <tuple>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using stagformer::GenerateOptions;
using stagformer::Generation;
using stagformer::LoadOptions;
using stagformer::Model;
using stagformer::Placement;
using stagformer::Prompt;
using ReleaseGil = nb::call_guard<nb::gil_scoped_release>;
using Array = nb::ndarray<nb::numpy, float, nb::ndim<1>>;

/// What a Python callback raised, on its way through the engine; other ranks are told its last line.
class CallbackFailure : public std::exception {
 public:
  explicit CallbackFailure(nb::python_error& error)
      : error_(std::make_shared<nb::python_error>(std::move(error))) {
    line_ = nb::type_name(error_->type()).c_str();
    const std::string text = nb::str(error_->value()).c_str();
    if (!text.empty()) line_ += ": " + text.substr(0, text.find('\n'));
  }
  const char* what() const noexcept override { return line_.c_str(); }
  void restore() const { error_->restore(); }

 private:
  std::shared_ptr<nb::python_error> error_;
  std::string line_;
};

/// Takes the lock for every text, and looks for Ctrl-C even where nobody listens. `callback` may be None.
Model::OnBatchText listener(nb::handle callback) {
  return [callback](std::size_t prompt, const std::string& text) {
    const nb::gil_scoped_acquire lock;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      if (!callback.is_none() && !text.empty()) callback(prompt, text);
    } catch (nb::python_error& error) {
      throw CallbackFailure(error);
    }
  };
}

/// [n], owned by Python.
Array array_of(std::vector<float>&& values) {
  auto* kept = new std::vector<float>(std::move(values));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return Array(kept->data(), {kept->size()}, owner);
}

using Communicator = std::tuple<std::uintptr_t, std::size_t, std::string>;

Model load(const std::string& checkpoint, const LoadOptions& options,
           const std::optional<Communicator>& comm) {
  if (!comm) return Model(checkpoint, options);
  const auto& [address, bytes, library] = *comm;
  return stagformer::internal::load_on({reinterpret_cast<const void*>(address), bytes, library}, checkpoint,
                                       options);
}

std::vector<Array> score(Model& model, const std::vector<std::string>& texts, std::int64_t window) {
  std::vector<stagformer::Scores> scores;
  {
    const nb::gil_scoped_release released;
    scores = model.score_all(texts, window);
  }
  std::vector<Array> arrays;
  for (stagformer::Scores& of_text : scores) arrays.push_back(array_of(std::move(of_text.log_probabilities)));
  return arrays;
}

void translate(const std::exception_ptr& failure, void*) {
  try {
    std::rethrow_exception(failure);
  } catch (const CallbackFailure& error) {
    error.restore();
  } catch (const stagformer::Error& error) {
    const nb::object kinds = nb::module_::import_("stagformer.errors").attr("BY_CODE");
    PyErr_SetString(kinds[nb::int_(static_cast<int>(error.code()))].ptr(), error.what());
  }
}

void bind_options(nb::module_& m) {
  nb::class_<LoadOptions>(m, "LoadOptions")
      .def(nb::init<>())
      .def_rw("threads", &LoadOptions::threads)
      .def_rw("verify", &LoadOptions::verify)
      .def_rw("context", &LoadOptions::context)
      .def_rw("chunk", &LoadOptions::chunk)
      .def_rw("batch", &LoadOptions::batch)
      .def_rw("draft", &LoadOptions::draft)
      .def_rw("memory_limit", &LoadOptions::memory_limit)
      .def_rw("stall_timeout_s", &LoadOptions::stall_timeout_s);
  nb::class_<GenerateOptions>(m, "GenerateOptions")
      .def(nb::init<>())
      .def_rw("max_tokens", &GenerateOptions::max_tokens)
      .def_rw("temperature", &GenerateOptions::temperature)
      .def_rw("top_k", &GenerateOptions::top_k)
      .def_rw("top_p", &GenerateOptions::top_p)
      .def_rw("min_p", &GenerateOptions::min_p)
      .def_rw("seed", &GenerateOptions::seed)
      .def_rw("repetition_penalty", &GenerateOptions::repetition_penalty)
      .def_rw("presence_penalty", &GenerateOptions::presence_penalty)
      .def_rw("frequency_penalty", &GenerateOptions::frequency_penalty)
      .def_rw("stop", &GenerateOptions::stop)
      .def_rw("ignore_eos", &GenerateOptions::ignore_eos)
      .def_rw("log_probabilities", &GenerateOptions::log_probabilities);
  nb::class_<Prompt>(m, "Prompt")
      .def(nb::init<>())
      .def_rw("text", &Prompt::text)
      .def_rw("token_ids", &Prompt::token_ids)
      .def_rw("options", &Prompt::options);
}

void bind_results(nb::module_& m) {
  nb::class_<Generation>(m, "Generation")
      .def_ro("text", &Generation::text)
      .def_ro("token_ids", &Generation::token_ids)
      .def_ro("finish_reason", &Generation::finish_reason)
      .def_ro("error", &Generation::error)
      .def_prop_ro(
          "log_probabilities",
          [](const Generation& g) { return array_of(std::vector<float>(g.log_probabilities)); },
          nb::rv_policy::automatic);
  nb::class_<Placement>(m, "Placement")
      .def_ro("rank", &Placement::rank)
      .def_ro("ranks", &Placement::ranks)
      .def_ro("replica", &Placement::replica)
      .def_ro("replicas", &Placement::replicas)
      .def_ro("first_section", &Placement::first_section)
      .def_ro("sections", &Placement::sections)
      .def_ro("threads", &Placement::threads)
      .def_ro("weight_bytes", &Placement::weight_bytes)
      .def_ro("cache_bytes", &Placement::cache_bytes);
}

void bind_model(nb::module_& m) {
  m.def("load", &load, "checkpoint"_a, "options"_a, "comm"_a.none(), ReleaseGil());
  nb::class_<Model>(m, "Model")
      .def("config_json", [](const Model& model) { return model.config().to_json(); })
      .def("placement", &Model::placement)
      .def("context", &Model::context)
      .def("tokenize", &Model::tokenize, "text"_a)
      .def("detokenize",
           [](const Model& model, const std::vector<std::int32_t>& ids) { return model.detokenize(ids); })
      .def(
          "generate",
          [](Model& model, const Prompt& prompt, nb::handle on_text) {
            const auto listen = listener(on_text);
            const nb::gil_scoped_release released;
            return model.generate(prompt, [&](const std::string& text) { listen(0, text); });
          },
          "prompt"_a, "on_text"_a.none())
      .def(
          "generate_all",
          [](Model& model, const std::vector<Prompt>& prompts, nb::handle on_text) {
            const auto listen = listener(on_text);
            const nb::gil_scoped_release released;
            return model.generate_all(prompts, listen);
          },
          "prompts"_a, "on_text"_a.none())
      .def("score", &score, "texts"_a, "window"_a);
}

}  // namespace

NB_MODULE(_engine, m) {
  nb::register_exception_translator(translate, nullptr);
  bind_options(m);
  bind_results(m);
  bind_model(m);
}
