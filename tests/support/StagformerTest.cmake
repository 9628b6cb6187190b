# stagformer_test(NAME a.b.c SOURCES ... [USES ...] [LABELS ...] [RANKS n ...] [TIMEOUT s])
# One program, one ctest entry: NAME, or for each of RANKS an entry NAME.npN that the MPI launcher starts.
# A program with RANKS brings its own main from tests/support/mpi_main.cpp, which returns the worst rank's result.
add_library(stagformer_test_options INTERFACE)
target_include_directories(stagformer_test_options INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(stagformer_test_options INTERFACE stagformer stagformer_options GTest::gtest
  nlohmann_json::nlohmann_json OpenMP::OpenMP_CXX)
target_compile_options(stagformer_test_options INTERFACE ${STAGFORMER_WARNINGS})
target_compile_definitions(stagformer_test_options INTERFACE
  STAGFORMER_SOURCE_DIR="${PROJECT_SOURCE_DIR}" STAGFORMER_GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden")

execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE STAGFORMER_MPIEXEC_VERSION ERROR_QUIET)
if(STAGFORMER_MPIEXEC_VERSION MATCHES "Open MPI|OpenRTE")
  set(STAGFORMER_MPIEXEC_FLAGS --oversubscribe --bind-to none --allow-run-as-root --mca mpi_yield_when_idle 1)
  set(STAGFORMER_MPI_ENVIRONMENT OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_WAIT_POLICY=passive)
else()
  set(STAGFORMER_MPIEXEC_FLAGS "")
  set(STAGFORMER_MPI_ENVIRONMENT OMP_WAIT_POLICY=passive)
endif()

function(stagformer_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;USES;LABELS;RANKS" ${ARGN})
  string(REPLACE "." "_" TARGET test_${ARG_NAME})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${TARGET} ${ARG_SOURCES})
  target_link_libraries(${TARGET} PRIVATE stagformer_test_options ${ARG_USES})
  if(NOT ARG_RANKS)
    target_link_libraries(${TARGET} PRIVATE GTest::gtest_main)
    add_test(NAME ${ARG_NAME} COMMAND ${TARGET})
    set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}" PROCESSORS 1
      ENVIRONMENT "${STAGFORMER_MPI_ENVIRONMENT}")
    return()
  endif()
  target_sources(${TARGET} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/mpi_main.cpp)
  target_link_libraries(${TARGET} PRIVATE stagformer_mpi)
  foreach(N IN LISTS ARG_RANKS)
    add_test(NAME ${ARG_NAME}.np${N}
      COMMAND ${MPIEXEC_EXECUTABLE} ${STAGFORMER_MPIEXEC_FLAGS} ${MPIEXEC_NUMPROC_FLAG} ${N} $<TARGET_FILE:${TARGET}>)
    set_tests_properties(${ARG_NAME}.np${N} PROPERTIES TIMEOUT ${ARG_TIMEOUT} PROCESSORS 2
      LABELS "mpi;np${N};${ARG_LABELS}" ENVIRONMENT "${STAGFORMER_MPI_ENVIRONMENT}")
  endforeach()
endfunction()
