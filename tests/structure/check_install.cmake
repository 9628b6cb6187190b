# Installs the build, builds a program against the installed package alone, and runs both.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE CODE OUTPUT_VARIABLE OUT ERROR_VARIABLE OUT)
  if(NOT CODE EQUAL 0)
    message(FATAL_ERROR "${ARGV}\n${OUT}")
  endif()
  set(OUT "${OUT}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
# The first program that the documentation shows is built and run as it stands there.
file(READ ${PAGE} TEXT)
string(REGEX REPLACE "^.*```cpp\n(#include <stagformer/engine.hpp>.*\n})\n```.*$" "\\1" CODE "${TEXT}")
file(WRITE ${WORK}/documented.cpp "${CODE}")
file(COPY_FILE ${CHECKPOINT} ${WORK}/model.h5)

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -DCMAKE_PREFIX_PATH=${WORK}/prefix -DCMAKE_CXX_COMPILER=${CXX}
    -DDOCUMENTED=${WORK}/documented.cpp ${MPI})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer ${CHECKPOINT})
if(NOT OUT MATCHES "8 tokens, length")
  message(FATAL_ERROR "unexpected output: ${OUT}")
endif()
run(${WORK}/build/documented WORKING_DIRECTORY ${WORK})
if(NOT OUT MATCHES "\n[0-9]+ -[0-9.]+\n")
  message(FATAL_ERROR "unexpected output: ${OUT}")
endif()
# Two of three ranks run the model, the third something else.
run(${LAUNCHER} 3 ${WORK}/build/parallel ${CHECKPOINT} hello)
if(NOT OUT MATCHES "8 tokens on 2 ranks, length" OR NOT OUT MATCHES "meanwhile: pi is 3.14159")
  message(FATAL_ERROR "unexpected output: ${OUT}")
endif()
run(${WORK}/prefix/bin/stagformer --version)
