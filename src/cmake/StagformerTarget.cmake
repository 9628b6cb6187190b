# stagformer_layer(NAME SOURCES ... USES ...): one layer of the engine as an object library with the project's warnings.
# A layer links only those below it: base < kernels < {model, comm, checkpoint, text} < {pipeline, import} < cli.
set(STAGFORMER_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND STAGFORMER_WARNINGS -Wno-restrict)  # false alarms on std::string's operator+ in GCC 12
endif()

# -ffp-contract=off: a multiply and an add are fused only where the code says so, hence the same bits from every compiler.
add_library(stagformer_options INTERFACE)
target_compile_options(stagformer_options INTERFACE -ffp-contract=off)
target_compile_features(stagformer_options INTERFACE cxx_std_20)
target_include_directories(stagformer_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
if(STAGFORMER_SANITIZE)
  target_compile_options(stagformer_options INTERFACE -fsanitize=${STAGFORMER_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(stagformer_options INTERFACE -fsanitize=${STAGFORMER_SANITIZE})
endif()

function(stagformer_layer NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES" ${ARGN})
  add_library(stagformer_${NAME} OBJECT ${ARG_SOURCES})
  set_target_properties(stagformer_${NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_options(stagformer_${NAME} PRIVATE ${STAGFORMER_WARNINGS})
  target_link_libraries(stagformer_${NAME} PUBLIC stagformer_options ${ARG_USES})
endfunction()
