# Everything the engine links, all of it from the distribution's packages (launch/setup installs them).
find_package(MPI REQUIRED COMPONENTS C)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# The C interface of MPI alone; the C++ bindings of old libraries stay out.
add_library(stagformer_mpi INTERFACE)
target_compile_definitions(stagformer_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_link_libraries(stagformer_mpi INTERFACE MPI::MPI_C)

# Serial HDF5 is all that is needed. A parallel build brings mpi.h along, hence the definitions above here too.
add_library(stagformer_hdf5 INTERFACE)
target_include_directories(stagformer_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_compile_definitions(stagformer_hdf5 INTERFACE ${HDF5_C_DEFINITIONS} OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_link_libraries(stagformer_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
