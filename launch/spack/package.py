# Spack recipe. From a clone of the project:
#
#   spack repo create stagformer-repo && mkdir -p stagformer-repo/packages/stagformer
#   cp launch/spack/package.py stagformer-repo/packages/stagformer/ && spack repo add stagformer-repo
#   spack dev-build --source-path . stagformer@main ^openmpi schedulers=slurm
from spack.package import *


class Stagformer(CMakePackage):
    """Distributed inference for StagFormer language models (time-staggered decoder-only transformers) over MPI."""

    license("Apache-2.0")

    version("main")
    version("0.1.0")

    variant("tests", default=False, description="Build and run the tests")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("mpi@3:")
    depends_on("hdf5@1.10: ~mpi")  # a build with MPI works as well, if it is the same MPI
    depends_on("openblas")
    depends_on("spdlog")
    depends_on("cli11@2:")
    depends_on("nlohmann-json")
    depends_on("xxhash")
    depends_on("highway@1:")
    depends_on("sentencepiece")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("googletest", when="+tests", type=("build", "test"))
    depends_on("python@3.10:", when="+tests", type=("build", "test"))

    conflicts("%gcc@:11", msg="needs C++20 of GCC 12 or newer")

    generator("ninja")

    def cmake_args(self):
        return [self.define_from_variant("STAGFORMER_TESTS", "tests")]
